// What people do, drawn by itself.

import { read } from "./api.js";
import { card, empty, h, swap, table } from "./dom.js";
import { legend, meter, spark, stacked } from "./charts.js";
import { age, count, decimal, share } from "./format.js";

const TONES = ["", "a1", "a2", "a3", "a4"];
const NONE = ["No event came in the last half hour.", "Your app brings some, or headrace replay FILE, or Try it on this page."];

export function insights() {
  const actions = h("div"), movers = h("div"), categories = h("div"), lives = h("div"), warmth = h("div");
  const root = h("div", { class: "stack" },
    card("Actions over time", { note: "a minute, the last half hour" }, actions),
    h("div", { class: "grid2" }, card("Top movers", { note: "events a minute: last 5 minutes against before" }, movers), card("Categories", { note: "share of events" }, categories)),
    h("div", { class: "grid2" }, card("Lives of items", { note: "events a minute" }, lives), card("Who is here", { note: "the newest 30 users, by events known of them" }, warmth)));
  return { title: "Insights", about: "Counted from the event topic as it flows, for half an hour.", root, poll };

  async function poll() {
    const seen = await read("insights");
    const totals = Object.entries(seen.actions).map(([name, values]) => [name, values.reduce((a, b) => a + b, 0), values]).sort((a, b) => b[1] - a[1]);
    const layers = totals.slice(0, 4).map(([name, , values], place) => ({ name, values, tone: TONES[place] }));
    if (totals.length > 4) layers.push({ name: "others", values: seen.minutes_ms.map((_, place) => totals.slice(4).reduce((sum, [, , values]) => sum + values[place], 0)), tone: "a4" });
    swap(actions, [seen.minutes_ms.at(-1), totals.map((one) => one[1])], () => (totals.length
      ? [legend(layers), stacked(seen.minutes_ms, layers, { label: `events a minute: ${totals.map(([name, number]) => `${name} ${number} in half an hour`).join(", ")}` })] : empty(...NONE)));
    swap(movers, seen.movers, () => (seen.movers.length ? table([{ name: "item" }, { name: "before", number: true }, { name: "now", number: true }, { name: "", number: true }],
      seen.movers.map((one) => [one.title || one.item_id, decimal(one.before, 1), decimal(one.now, 1), h("span", { class: one.now >= one.before ? "up" : "soft" }, one.now >= one.before ? "▲" : "▼")]), { label: "movers" })
      : empty("There is no before yet.", `Movers show when more than 5 minutes were seen (${count(seen.observed_minutes)} so far).`)));
    const most = Math.max(1e-9, ...seen.categories.map((one) => one.share));
    swap(categories, seen.categories, () => (seen.categories.length ? table([{ name: "category" }, { name: "", class: "wide-cell" }, { name: "share", number: true }], seen.categories.map((one) => [one.name, meter(one.share / most, one.name === "all others" ? "second" : ""), share(one.share)]), { label: "categories" }) : empty(...NONE)));
    swap(lives, seen.lives, () => (seen.lives.length ? table([{ name: "item" }, { name: "the last half hour", class: "wide-cell" }, { name: "events", number: true }, { name: "age", number: true }],
      seen.lives.map((one) => [one.title || one.item_id, spark(one.counts, { label: `${one.total} events` }), count(one.total), one.age_s === null ? "–" : age(1000 * one.age_s)]), { label: "lives of items" }) : empty(...NONE)));
    const kinds = [["cold", "cold: fewer than 5 events"], ["warm", "warm: 5 to 19"], ["regular", "regular: 20 and more"]];
    const all = Object.values(seen.warmth).reduce((a, b) => a + b, 0);
    swap(warmth, seen.warmth, () => (all ? table([{ name: "users" }, { name: "", class: "wide-cell" }, { name: "share", number: true }], kinds.map(([kind, label]) => [label, meter(seen.warmth[kind] / all), share(seen.warmth[kind] / all)]), { label: "cold and warm users" }) : empty("Nobody has acted of late.", "The newest users are looked up every few seconds.")));
  }
}
insights.label = "Insights";

// One user's feature values as the server reads them, and how they changed while you looked.

import { read } from "./api.js";
import { card, empty, h, swap, table } from "./dom.js";
import { meter } from "./charts.js";
import { age, clock, count, decimal, plural } from "./format.js";

export function users() {
  let user = new URLSearchParams(location.hash.split("?")[1] ?? "").get("id") ?? "";
  const input = h("input", { id: "user", value: user, autocomplete: "off", spellcheck: "false", maxlength: "128", required: true });
  const newest = h("div", { class: "row" }), body = h("div", { class: "stack" });
  const form = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); choose(input.value.trim()); } },
    h("label", { for: "user" }, "User id", input), h("button", { class: "main" }, "Look"));
  const root = h("div", { class: "stack" }, card("Who?", {}, form, h("h3", null, "Acted last"), newest), body);
  return { title: "Users", about: "The row that the server reads for every answer, decayed to now. Stay here and act as the user: each change adds a line.", root, poll };

  function choose(id) {
    user = id;
    input.value = id;
    body.told = "";
    poll();
  }

  async function poll(summary) {
    const now = summary?.now_ms ?? Date.now();
    const { newest_users: ids } = await read("user");
    swap(newest, ids, () => (ids.length ? ids.map((id) => h("button", { type: "button", class: "small", "data-key": `u-${id}`, onclick: () => choose(id) }, id)) : h("p", { class: "note" }, "Nobody yet: whoever has an event stands here.")));
    if (!user && ids.length) choose(ids[0]);
    if (!user) return swap(body, "none", () => empty("No user is chosen.", "Type an id, or wait for somebody to act."));
    const seen = await read("user", { id: user });
    return swap(body, [seen, now >> 14], () => pageOf(seen, now));
  }

  function pageOf(seen, now) {
    if (!seen.is_known) return empty(`Nothing is known of ${seen.user_id}.`, "An answer to him rests on what all users do; his first event changes that within a second.");
    const kinds = ["events", "positives", "negatives"];
    const spans = [...new Set(Object.keys(seen.counts).map((name) => name.split("half-life ")[1]))];
    const counters = table([{ name: "half-life" }, ...kinds.map((name) => ({ name, number: true }))], spans.map((span) => [span, ...kinds.map((kind) => decimal(seen.counts[`${kind}, half-life ${span}`], 2))]), { label: "decayed counters" });
    const most = Math.max(1e-9, ...seen.categories.map((one) => one.events));
    const categories = seen.categories.length ? table([{ name: "category" }, { name: "", class: "wide-cell" }, { name: "events", number: true }, { name: "positives", number: true }], seen.categories.map((one) => [one.name, meter(one.events / most), decimal(one.events, 1), decimal(one.positives, 1)]), { label: "categories" }) : empty("None of his items has a category.");
    const history = table([{ name: "item" }, { name: "meant" }, { name: "ago", number: true }], seen.history.map((one) => [one.title || one.item_id, one.outcome, age(now - one.time_ms)]), { label: "history" });
    const changes = seen.changes.length ? h("ol", { class: "stack" }, seen.changes.map((one) => h("li", { class: "letter" },
      h("p", null, h("b", null, clock(one.time_ms)), ` · ${count(one.new_events)} new event${one.new_events === 1 ? "" : "s"}`, one.items.length ? `: ${one.items.map((item) => item.title || item.item_id).join(", ")}` : ""),
      h("p", { class: "note" }, Object.entries(one.counts).slice(0, 4).map(([name, [from, to]]) => `${name}: ${decimal(from, 2)} → ${decimal(to, 2)}`).join(" · "))))) : empty("Nothing has changed since you looked.", "Send an event in Try it and come back: this page keeps up to 40 changes.");
    const declared = Object.entries(seen.declared);
    return [
      h("div", { class: "row" }, h("span", { class: "chip accent" }, seen.user_id), h("span", { class: "chip" }, `${plural(seen.history_length, "newest event")} kept`), h("span", { class: "chip" }, `${plural(seen.consumed, "item")} used`), h("span", { class: "chip" }, `shown ${count(seen.shown)} of late`)),
      h("div", { class: "grid2" }, card("How it changed", { note: "while you looked" }, changes), card("Counters now", { note: "events, decayed" }, counters)),
      h("div", { class: "grid2" }, card("History", { note: "newest first" }, history), h("div", { class: "stack" }, card("Categories", { note: "longest half-life" }, categories), declared.length ? card("Your own features", {}, table([{ name: "feature" }, { name: "now", number: true }], declared.map(([name, values]) => [name, values.join(", ")]))) : null)),
    ];
  }
}
users.label = "Users";

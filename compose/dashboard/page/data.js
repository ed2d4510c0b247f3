// Data: what waits, what is held, and the messages that could not be used.

import { read } from "./api.js";
import { card, empty, h, marked, swap } from "./dom.js";
import { legend, lines } from "./charts.js";
import { bytes, count, moment, rate } from "./format.js";

export function data() {
  let reason = "";
  const lag = h("div"), flow = h("div"), reasons = h("div"), letters = h("div", { class: "stack" }), held = h("div"), figures = h("div");
  const root = h("div", { class: "stack" },
    h("div", { class: "grid2" }, card("Waiting", { note: "records in front of a part" }, figures, lag), card("Coming in", { note: "a second" }, flow)),
    card("Bad messages", { note: "what the feature job could not use, by reason" }, reasons),
    card("Samples of them", { note: "newest first, as they were sent; choose a reason for more of it" }, letters),
    card("Held from training", { note: "suspicious windows of data" }, held));
  return { title: "Data", about: "Lag, dead letters with their bytes and how to mend them, and windows that the quality job holds back.", root, poll };

  async function poll() {
    const seen = await read("data", { reason });
    const waiting = [{ name: "trainer", points: seen.lag_series["lag:trainer"], tone: "" }, { name: "ingester", points: seen.lag_series["lag:ingester"], tone: "second" }];
    swap(figures, seen.lag, () => h("p", { class: "row gap-below" }, Object.entries(seen.lag).map(([part, records]) => h("span", { class: "chip" }, `${part} ${count(records)}`))));
    swap(lag, waiting.map((one) => one.points.at(-1)), () => [legend(waiting), lines(waiting, { format: count, zero: true, label: "records that wait", height: 160 })]);
    const rates = [{ name: "live events", points: seen.lag_series.events_per_s, tone: "" }, { name: "samples read", points: seen.lag_series.samples_per_s, tone: "second" }];
    swap(flow, rates.map((one) => one.points.at(-1)), () => [legend(rates), lines(rates, { format: (v) => rate(v, ""), zero: true, label: "a second", height: 190 })]);
    drawReasons(seen);
    swap(letters, seen.letters, () => (seen.letters.length ? seen.letters.map(letterOf) : empty(reason ? `No message of reason ${reason} is kept.` : "No message was refused.", reason ? "Choose all reasons." : "Bad events would stand here with their bytes.")));
    swap(held, [seen.held_windows, seen.held], () => (seen.held_windows ? [h("p", null, `${count(seen.held_windows)} windows are held.`), h("p", { class: "note" }, marked("`headrace quality list` shows why; `release` lets them teach, `drop` leaves them out."))] : h("p", { class: "calm" }, "✓ No window is held")));
  }

  function drawReasons(seen) {
    const day = seen.dead_letters_of_a_day ?? {};
    swap(reasons, [seen.reasons, day, reason], () => {
      if (!seen.reasons.length && !Object.keys(day).length) return h("p", { class: "calm" }, "✓ Every message could be used");
      const all = [{ reason: "", count: seen.kept, meaning: "", mend: "" }, ...seen.reasons];
      return [
        h("div", { class: "row", role: "group", "aria-label": "Show one reason" }, all.map((one) => h("button", { type: "button", class: "small", "data-key": `r-${one.reason}`, "aria-pressed": String(one.reason === reason), onclick: () => { reason = one.reason; poll(); } }, `${one.reason || "all"} · ${count(one.count)}`))),
        h("ul", { class: "stack" }, seen.reasons.filter((one) => !reason || one.reason === reason).map((one) => h("li", { class: "letter" },
          h("p", null, h("b", null, one.reason), day[one.reason] ? ` · ${count(day[one.reason])} within a day` : ""), h("p", null, marked(one.meaning)), sharedOf(one), h("p", { class: "note" }, "Mend: ", marked(one.mend))))),
      ];
    });
    reasons.firstElementChild?.classList.add("gap-below");
  }

  function sharedOf(one) {
    const told = (one.shared ?? []).filter((each) => each.field !== "topic" || one.shared.length === 1);
    return told.length ? h("p", { class: "row" }, h("span", { class: "note" }, "They say alike:"),
      told.map((each) => h("span", { class: "chip warn" }, `${each.field} ${each.value} · ${count(each.count)} of ${count(one.count)}`))) : null;
  }

  function letterOf(one) {
    return h("article", { class: "letter" },
      h("p", { class: "row between" }, h("span", { class: "row" }, h("span", { class: "chip warn" }, one.reason), h("span", { class: "note" }, moment(one.time_ms))), h("span", { class: "note" }, `${one.letter} · ${bytes(one.bytes)}`)),
      h("pre", { tabindex: "0", "aria-label": "message" }, one.text || "(empty)", one.is_cut ? " …" : ""),
      h("p", { class: "note" }, one.why_not ? `Sent again as it is: no, ${one.why_not}.` : ["Sent again as it is, it would be taken: ", h("code", null, `headrace dlq replay --letter ${one.letter}`)]));
  }
}
data.label = "Data";

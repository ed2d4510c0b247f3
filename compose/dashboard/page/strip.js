// Freshness as one strip: the way of an event, and each stage on a scale from 10 ms to a minute.

import { empty, h } from "./dom.js";
import { ms } from "./format.js";

const STAGES = [["feature", "feature readable"], ["sample", "sample written"], ["weights", "weights published"], ["served", "weights served"]];
const LOW = 10, HIGH = 60000;
const at = (value) => 100 * Math.max(0, Math.min(1, Math.log(value / LOW) / Math.log(HIGH / LOW)));

export function strip(freshness) {
  if (!STAGES.some(([name]) => freshness[name]?.p50 !== undefined)) {
    return empty("No event came in the last minute.", "Send some: from your app, by headrace replay FILE, or in Try it on this page.");
  }
  const cells = STAGES.map(([name, label]) => {
    const one = freshness[name] ?? {};
    return h("li", { class: "stage" }, h("h3", null, label), h("p", { class: "figure" }, ms(one.p50)), h("p", { class: "note" }, `p99 ${ms(one.p99)}`));
  });
  const bars = STAGES.flatMap(([name, label]) => {
    const one = freshness[name];
    const track = h("span", { class: "track", "aria-hidden": "true" });
    if (one?.p50 !== undefined) {
      const range = h("i"), middle = h("b");
      range.style.left = `${at(one.p50)}%`;
      range.style.width = `${Math.max(0.5, at(one.p99) - at(one.p50))}%`;
      middle.style.left = `${at(one.p50)}%`;
      track.append(range, middle);
    }
    return [h("span", { class: "note" }, label), track, h("span", { class: "note" }, one?.p50 === undefined ? "–" : `${ms(one.p50)} … ${ms(one.p99)}`)];
  });
  const axis = h("span", { class: "axis", "aria-hidden": "true" }, [10, 100, 1000, 10000, 60000].map((value) => {
    const tick = h("span", null, ms(value));
    tick.style.left = `${at(value)}%`;
    return tick;
  }));
  return [
    h("ol", { class: "strip", "aria-label": "event to feature, sample, weights, served weights" }, cells),
    h("div", { class: "bars", "aria-hidden": "true" }, bars, h("span", { class: "note" }, "p50 to p99"), axis, h("span")),
  ];
}

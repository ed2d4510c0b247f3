// The first view: is it learning, how fresh is it, is anything wrong.

import { card, empty, h, swap } from "./dom.js";
import { lines, legend } from "./charts.js";
import { count, decimal, ms, rate, signed } from "./format.js";
import { strip } from "./strip.js";
import { headline, measureName } from "./measures.js";
import { problemLine } from "./problem.js";
import { read } from "./api.js";

export function overview() {
  const health = h("div", { class: "stack" });
  const fresh = h("div");
  const learns = h("div");
  const flow = h("div");
  const chart = h("div");
  const root = h("div", { class: "stack" },
    h("div", { class: "grid2" }, card("Is anything wrong?", {}, health), card("Is it learning?", { note: "ahead of counters alone, judged before it learns" }, learns)),
    card("How fresh is it?", { note: "from the broker's time of an event, last minute" }, fresh),
    h("div", { class: "grid2" }, card("An answer", { note: "time of a Recommend in the server" }, chart), card("The loop now", {}, flow)));
  return { title: "Overview", about: "What your users do, on its way into the next list.", root, poll };

  async function poll(summary) {
    swap(health, summary.problems, () => (summary.problems.length
      ? summary.problems.slice(0, 6).map((one) => problemLine(one, false))
      : [h("p", { class: "calm" }, "✓ Everything runs"), h("p", { class: "note" }, "All parts are up, the server follows the trainer, nothing waits, no message was refused within a day.")]));
    swap(fresh, summary.freshness, () => strip(summary.freshness));
    drawLearning(summary);
    const facts = [
      ["events", rate(summary.events_per_s, "")], ["samples learnt", rate(summary.samples_per_s, "")],
      ["model versions served", count(summary.swaps)], ["items known", count(summary.items)], ["users with taste vectors", count(summary.users)],
    ];
    swap(flow, facts, () => h("dl", { class: "pairs" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
    const seen = await read("traffic");
    const series = [
      { name: "p99", points: seen.series["stage:total:p99"], tone: "second" },
      { name: "p50", points: seen.series["stage:total:p50"], tone: "" },
    ];
    swap(chart, series.map((one) => one.points.at(-1)), () => (series[0].points.length
      ? [legend([series[1], series[0]]), lines(series, { format: ms, zero: true, label: "time of an answer", height: 170 })]
      : empty("Nobody has asked for a list yet.", "Open Try it, or run headrace recommend USER.")));
  }

  function drawLearning(summary) {
    const best = headline(summary.judged);
    swap(learns, best, () => {
      if (!best) return empty("Too little has been judged yet.", "The first figure comes after about a hundred choices of users.");
      const lead = best.value - best.baseline;
      return [
        h("p", { class: "figure" }, h("span", { class: Math.abs(lead) <= 1.96 * best.lead_error ? "" : lead > 0 ? "up" : "down" }, signed(lead)), h("small", null, ` ${measureName(best.metric, true)} over counters`)),
        h("p", null, `Model ${decimal(best.value)}, counters alone ${decimal(best.baseline)}, on the newest ${count(best.size)} judged.`),
        h("p", { class: "note" }, Math.abs(lead) <= 1.96 * best.lead_error ? "Within the noise so far (95 %)." : `More than chance: 95 % interval ${signed(lead - 1.96 * best.lead_error)} to ${signed(lead + 1.96 * best.lead_error)}.`,
          " ", h("a", { href: "#learning" }, "More")),
      ];
    });
  }
}
overview.label = "Overview";

// Is it learning: prequential metrics beside the counters', over time, by slice and by arm.

import { read } from "./api.js";
import { card, empty, h, marked, swap, table } from "./dom.js";
import { legend, lines } from "./charts.js";
import { count, decimal, rate, share, signed } from "./format.js";
import { headline, isCalibration, measureName } from "./measures.js";

export function learning() {
  const main = h("div"), judged = h("div"), rolling = h("div"), table_ = h("div"), arms = h("div"), facts = h("div");
  let armsAt = 0;
  const root = h("div", { class: "stack" },
    card("Model and counters", { note: "the newest judged, before they are learnt" }, main),
    card("Measure by measure", { note: "all traffic, then slices; ± is a 95 % interval" }, judged),
    h("div", { class: "grid2" }, card("Hit rate of late", { note: "what users chose by themselves" }, rolling), card("The trainer now", {}, facts)),
    card("Arms", { note: "what a list earns, of the last day" }, arms),
    card("All rolling metrics", { note: "of late, and since the start" }, table_));
  return { title: "Learning", about: "Every event is a question first: the model says what it expects, then it learns. Ahead of the counters means that the model adds something to plain counting.", root, poll };

  async function poll() {
    const seen = await read("learning");
    const best = headline(seen.judged);
    const key = best?.series;
    const series = best ? [
      { name: "model", points: seen.series[`judged:${key}`] ?? [], tone: "" },
      { name: "counters alone", points: seen.series[`baseline:${key}`] ?? [], tone: "second" },
    ] : [];
    swap(main, [key, series.map((one) => one.points.at(-1))], () => (best
      ? [h("p", { class: "note" }, `${measureName(best.metric, true)}, higher is better, 1 is perfect`), legend(series), lines(series, { format: (v) => decimal(v, 3), least: 0.02, label: measureName(best.metric, true), height: 220 })]
      : empty(`${count(seen.open)} of the first ${count(seen.block_size)} choices are judged.`, "Figures come when the first block is full; 100 events with a choice fill it.")));
    drawJudged(seen);
    const hit = [{ name: "hit rate in the first 10", points: seen.series["metric:hr@10"] ?? [], tone: "" }];
    swap(rolling, hit[0].points.at(-1), () => (hit[0].points.length ? lines(hit, { format: share, least: 0.04, label: "hit rate in the first 10", height: 190 }) : empty("Nobody has chosen an item by himself yet.", "Events of positive actions without a list are counted here.")));
    const told = [
      ["samples learnt", count(seen.progress.samples - (seen.progress.duplicates ?? 0))], ["repeated, not learnt again", count(seen.progress.duplicates)], ["now", rate(seen.samples_per_s, "")], ["steps", count(seen.progress.step)],
      ["steps not taken, not finite", count(seen.progress.non_finite_steps)], ["steps made smaller", count(seen.progress.clipped_steps)],
    ];
    swap(facts, told, () => h("dl", { class: "pairs" }, told.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
    const metrics = seen.metrics.filter((one) => one.rolling !== null).sort((a, b) => a.metric.localeCompare(b.metric) || a.slice.localeCompare(b.slice));
    swap(table_, metrics, () => (metrics.length
      ? table([{ name: "metric" }, { name: "slice" }, { name: "of late", number: true }, { name: "since the start", number: true }],
        metrics.map((one) => [measureName(one.metric), one.slice || "all", decimal(one.rolling, 4), decimal(one.overall, 4)]), { label: "rolling metrics" })
      : empty("No metric has a value yet.")));
    if (Date.now() - armsAt > 60000) {
      armsAt = Date.now();
      read("arms").then((report) => drawArms(seen, report), (error) => swap(arms, error.message, () => empty(error.message)));
    }
  }

  function drawJudged(seen) {
    const rows = seen.judged.map((one) => {
      const lead = one.value - one.baseline, side = 1.96 * one.lead_error;
      const tone = isCalibration(one.metric) || Math.abs(lead) <= side ? "" : lead > 0 ? "up" : "down";
      return [measureName(one.metric, true), one.slice || "all", decimal(one.value), decimal(one.baseline), h("span", { class: tone }, `${signed(lead)} ± ${decimal(side)}`), count(one.size)];
    });
    swap(judged, rows.map((row) => row.map((cell) => cell.textContent ?? cell)), () => (rows.length
      ? table([{ name: "measure" }, { name: "slice" }, { name: "model", number: true }, { name: "baseline", number: true }, { name: "ahead by", number: true }, { name: "judged", number: true }], rows, { label: "measures beside their baselines" })
      : empty("Nothing was judged yet.", "See above.")));
  }

  function drawArms(seen, report) {
    swap(arms, [report, seen.canary, seen.last_canary], () => {
      const canary = seen.canary ? h("p", null, `Canary ${seen.canary.version} serves ${share(seen.canary.share)} of the users beside ${seen.canary.live_version}.`)
        : seen.last_canary ? h("p", { class: "note" }, `Last canary: ${seen.last_canary}`) : null;
      if (report.why_none) return [canary, empty("No experiment runs.", h("span", null, marked("Declare one with `serving.experiment` and `serving.arms` in headrace.yaml, or load a version with `headrace models load VERSION --canary 5%`.")))];
      const rows = report.arms.map((arm) => [arm.arm, arm.share === null ? "–" : share(arm.share), count(arm.requests), count(arm.users), `${decimal(arm.reward)} (${decimal(arm.reward_low)} to ${decimal(arm.reward_high)})`,
        arm.difference === null ? "control" : `${signed(arm.difference)} (${signed(arm.difference_low)} to ${signed(arm.difference_high)})`, arm.p_value === null ? "" : decimal(arm.p_value, 4)]);
      return [canary, h("p", { class: "note" }, `Experiment ${report.experiment}; p holds however often you look.`),
        table([{ name: "arm" }, { name: "share", number: true }, { name: "lists", number: true }, { name: "users", number: true }, { name: "reward a list", number: true }, { name: "difference", number: true }, { name: "p", number: true }], rows, { label: "arms" })];
    });
  }
}
learning.label = "Learning";

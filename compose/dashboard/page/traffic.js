// Traffic: requests, where their time goes, what was below full quality, and the parts behind it.

import { read } from "./api.js";
import { card, empty, h, swap, table } from "./dom.js";
import { legend, lines, meter } from "./charts.js";
import { count, dash, decimal, ms, share } from "./format.js";

const MEANINGS = {
  no_model: ["There is no model yet.", "It comes with the trainer's first version."],
  feature_store_unavailable: ["The user's features could not be read.", "Look at Redis: headrace status."],
  no_time_for_user: ["The deadline left no time for the user's row.", "Ask with a longer deadline, or look for load."],
  fewer_candidates: ["Fewer candidates were ranked to hold the deadline.", "Add server processes: serving.workers."],
  cached_ranking: ["The user's last ranking was shown again.", "Add server processes: serving.workers."],
  popularity_only: ["Answered by popularity.", "The deadline was too short, or the machine too busy."],
  ranker_failed: ["The version failed to rank.", "Roll back in Versions; the server's log has the error."],
  items_not_current: ["The item table does not follow Kafka.", "Look at Kafka: headrace status."],
};

// One bar: up to p50 in the accent, on to p99 in the second colour.
function range(p50, p99) {
  const outer = meter(p99, "second");
  outer.append(meter(p50).firstChild);
  outer.classList.add("double");
  return outer;
}

export function traffic() {
  const rates = h("div"), latency = h("div"), stages = h("div"), degraded = h("div"), parts = h("div"), refused = h("div");
  const root = h("div", { class: "stack" },
    h("div", { class: "grid2" }, card("Answers a second", {}, rates), card("Time of an answer", { note: "p50 and p99 of the newest 4,096" }, latency)),
    card("Where the time goes", { note: "p50 and p99 by stage, CPU a request" }, stages),
    h("div", { class: "grid2" }, card("Below full quality", { note: "reasons, since the server started" }, degraded), card("Refused and logged", {}, refused)),
    card("Parts", { note: "of the local stack" }, parts));
  return { title: "Traffic", about: "Every list is answered, also when something behind it fails; then the answer says what it lacks.", root, poll };

  async function poll() {
    const seen = await read("traffic");
    const series = [{ name: "answers", points: seen.series.requests_per_s, tone: "" }];
    swap(rates, series[0].points.at(-1), () => (seen.requests ? lines(series, { format: (v) => `${decimal(v, v < 10 ? 1 : 0)}/s`, zero: true, label: "answers a second" }) : empty("Nobody has asked for a list yet.", "Try it asks for one.")));
    const times = [{ name: "p50", points: seen.series["stage:total:p50"], tone: "" }, { name: "p99", points: seen.series["stage:total:p99"], tone: "second" }];
    swap(latency, times.map((one) => one.points.at(-1)), () => (times[0].points.length ? [legend(times), lines(times, { format: ms, zero: true, label: "time of an answer" })] : empty("No answer was timed yet.")));
    const longest = Math.max(0.001, ...seen.stages.map((one) => one.p99));
    swap(stages, seen.stages, () => (seen.stages.length ? table(
      [{ name: "stage" }, { name: "p50 to p99", class: "wide-cell" }, { name: "p50", number: true }, { name: "p99", number: true }, { name: "CPU", number: true }],
      seen.stages.map((one) => [one.stage, range(one.p50 / longest, one.p99 / longest), ms(one.p50), ms(one.p99), one.cpu_us === null ? dash : `${Math.round(one.cpu_us)} µs`]), { label: "stages" }) : empty("No request was timed yet.")));
    const reasons = Object.entries(seen.degraded).sort((a, b) => b[1] - a[1]);
    swap(degraded, [reasons, seen.requests], () => (reasons.length ? table([{ name: "reason" }, { name: "answers", number: true }, { name: "what it means, and the mend" }],
      reasons.map(([reason, number]) => [reason, `${count(number)} (${share(number / Math.max(1, seen.requests))})`, (MEANINGS[reason] ?? ["See docs/serving.md.", ""]).join(" ")]), { label: "degraded reasons" })
      : h("p", { class: "calm" }, `✓ All ${count(seen.requests)} answers at full quality`)));
    const facts = [["lists logged", count(seen.served_log.sent)], ["lists that were not logged", count(seen.served_log.dropped)],
      ...Object.entries(seen.refused_requests).map(([why, number]) => [`refused: ${why}`, count(number)]), ...Object.entries(seen.arms).map(([arm, number]) => [`lists of arm ${arm || "(none)"}`, count(number)])];
    swap(refused, facts, () => h("dl", { class: "pairs" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
    swap(parts, [seen.parts, seen.jobs, seen.workers], () => (seen.parts.length ? table([{ name: "part" }, { name: "state" }, { name: "process", number: true }, { name: "restarts", number: true }],
      [...seen.parts.map((one) => [one.name, h("span", { class: `chip ${one.state === "ready" || one.state === "done" ? "good" : "bad"}` }, one.state), one.pid ?? dash, one.restarts || dash]),
        ...Object.entries(seen.jobs).map(([name, state]) => [name, h("span", { class: `chip ${state === "RUNNING" ? "good" : ""}` }, state.toLowerCase()), "Flink", dash]),
        ...seen.workers.map((one) => [`server process ${one.number}`, one.state, one.pid, one.restarts || dash])], { label: "parts" })
      : empty("The parts run elsewhere, or have just begun.", "headrace status, on their machine, lists them.")));
  }
}
traffic.label = "Traffic";

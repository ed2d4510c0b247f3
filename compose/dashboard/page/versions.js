// Versions in time: snapshots, deltas, held ones, orders; why, compared, and what may be done about one.

import { read, write } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { card, empty, h, s, swap, table } from "./dom.js";
import { age, bytes, clock, count, dash, figure, moment, ms, signed } from "./format.js";
import { measureName } from "./measures.js";

const STATES = { held: "warn", rejected: "bad", available: "good" };

export function versions(page) {
  let seen = null, chosen = "", other = "", showDeltas = false;
  const line = h("div", { class: "timeline" }), list = h("div"), detail = h("div"), now = h("div"), orders = h("div");
  const deltas = h("input", { type: "checkbox", id: "deltas", onchange: () => { showDeltas = deltas.checked; draw(); } });
  const root = h("div", { class: "stack" },
    card("Time line", { note: "the last half hour; click a mark to see why" }, line),
    card("Now", {}, now),
    h("div", { class: "versions" },
      card("Versions", {}, h("label", { class: "row", for: "deltas" }, deltas, "also the deltas between them"), list),
      card("Chosen version", {}, detail)),
    card("Orders", { note: "what ops, or this page, told the servers" }, orders));
  return { title: "Versions", about: "Deltas go live about twice a second, now and then one is kept whole, as a snapshot. The server can go back to every version behind a kept snapshot: click one in the time line. The gate holds a version that predicts worse than it may.", root, poll };

  async function poll() {
    seen = await read("versions");
    const names = seen.versions.map((one) => one.version);
    if (!names.includes(chosen)) chosen = seen.versions.find((one) => one.state === "held")?.version ?? seen.versions.find((one) => one.is_live)?.version ?? names[0] ?? "";
    if (!names.includes(other)) other = "";
    draw();
  }

  function draw() {
    if (!seen) return;
    swap(line, [seen.versions.length, seen.now_ms >> 12, chosen, seen.orders.length, line.clientWidth], () => timeline());
    swap(now, [seen.live, seen.is_following, seen.follow_reason, seen.gate, seen.swaps, seen.refused, seen.delta_to_serving_s, page.mayOrder()], () => nowCard());
    const told = seen.versions.filter((one) => showDeltas || one.is_stored || one.is_live || one.version === chosen || one.state === "held" || one.kind === "snapshot").slice(0, 200);
    swap(list, [told.map((one) => [one.version, one.state, one.is_live, one.is_pinned, one.kind]), chosen, seen.error], () => (told.length
      ? h("div", { class: "picks" }, told.map(pick)) : empty("No version yet.", seen.error || "The trainer publishes its first one when it has started.")));
    const one = seen.versions.find((each) => each.version === chosen);
    swap(detail, [one, other, page.mayOrder(), seen.versions.filter((each) => each.is_reachable).length], () => (one ? detailOf(one) : empty("Nothing is chosen.", "Choose a version on the left.")));
    swap(orders, seen.orders, () => (seen.orders.length
      ? table([{ name: "when" }, { name: "order" }, { name: "version" }, { name: "role" }, { name: "why" }], seen.orders.map((each) => [moment(each.time_ms), each.order, each.version || dash, each.role, each.reason || dash]), { label: "orders" })
      : empty("Nobody has given an order.", "Roll back, pin, release or reject: each leaves a line here.")));
  }

  function marks(one) {
    return [
      one.is_live ? h("span", { class: "chip accent" }, "live") : null, one.is_pinned ? h("span", { class: "chip accent" }, "pinned") : null,
      one.state && one.state !== "available" && one.state !== "unloaded" ? h("span", { class: `chip ${STATES[one.state] ?? ""}` }, one.state) : null,
      h("span", { class: "chip" }, one.kind),
    ];
  }

  function pick(one) {
    return h("button", { type: "button", class: "pick", "data-key": `v-${one.version}`, "aria-pressed": String(one.version === chosen), onclick: () => { chosen = one.version; draw(); } },
      h("b", null, one.version), h("span", { class: "row" }, marks(one)), h("span", { class: "note" }, one.created_ms ? clock(one.created_ms) : ""));
  }

  function nowCard() {
    const gate = seen.gate ?? {};
    const follows = seen.is_following ? "follows the trainer" : `stays: ${seen.follow_reason}`;
    const refused = Object.entries(seen.refused ?? {}).map(([why, number]) => `${number} ${why}`).join(", ");
    const acts = h("div", { class: "row" },
      gate.state === "HELD" ? [order("Release the held version", { order: "release" }, `Version ${gate.version} is held: ${gate.reason}. Released, it serves at once, and the trainer publishes again from what it has learnt by now.`),
        order("Reject it", { order: "reject" }, `The trainer goes back to what was good before ${gate.version} and skips the samples since.`, { danger: true, field: { label: "Why", hint: "for the audit line" } })] : null,
      seen.is_following ? order("Pin the live version", { order: "pin", version: seen.live }, `The server stays at ${seen.live} until you let it follow again.`)
        : order("Follow again", { order: "unpin" }, "The server takes the newest version and follows the trainer again.", { main: true }));
    return h("div", { class: "stack" },
      h("dl", { class: "pairs" },
        h("dt", null, "serves"), h("dd", null, h("b", null, seen.live || "no version"), `, ${follows}`),
        h("dt", null, "gate"), h("dd", null, gate.state === "HELD" ? h("span", { class: "chip warn" }, `holds ${gate.version}: ${gate.reason}`) : gate.is_enabled === false ? "switched off" : "passes"),
        h("dt", null, "swaps"), h("dd", null, `${count(seen.swaps)}${refused ? `; refused: ${refused}` : "; none refused"}`),
        h("dt", null, "delta → served"), h("dd", null, `p50 ${ms(1000 * (seen.delta_to_serving_s?.p50 ?? NaN))}, p99 ${ms(1000 * (seen.delta_to_serving_s?.p99 ?? NaN))}`)),
      acts);
  }

  function detailOf(one) {
    const facts = [
      ["made", one.created_ms ? `${moment(one.created_ms)} (${age(seen.now_ms - one.created_ms)} ago)` : dash], ["served since", one.loaded_ms ? moment(one.loaded_ms) : dash],
      ["holds", one.num_items ? `${count(one.num_items)} items, ${count(one.num_users)} users` : dash], ["size", one.payload_bytes ? `${bytes(one.payload_bytes)} as a delta` : dash],
      ["newest event learnt", one.newest_event_ms ? moment(one.newest_event_ms) : dash],
    ];
    const why = one.reason ? h("p", { class: "said" }, one.reason) : one.kind === "delta" ? h("p", { class: "note" }, "A delta: what changed since the version before it.") : h("p", { class: "note" }, "A snapshot: whole, and kept in the model store.");
    const others = seen.versions.filter((each) => each.version !== one.version && Object.keys(each.metrics).length).slice(0, 60);
    const second = h("select", { "data-key": "other", onchange: (event) => { other = event.target.value; draw(); } }, h("option", { value: "" }, "nothing"), others.map((each) => h("option", { value: each.version }, `${each.version}${each.is_live ? " (live)" : ""}`)));
    second.value = other;
    const back = one.is_reachable && !one.is_live;
    return h("div", { class: "stack" },
      h("div", { class: "row" }, h("b", { class: "figure" }, one.version), marks(one)), why,
      h("dl", { class: "pairs" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
      h("div", { class: "row" }, back ? order(`Roll back to ${one.version}`, { order: "rollback", version: one.version }, `The server serves ${one.version} at once and stays there until you let it follow again. The trainer goes on learning.`, { danger: true }) : null,
        one.is_live ? h("span", { class: "note" }, "This version is live.") : back ? null : h("span", { class: "note" }, one.state === "held" ? "Release or reject it above." : "The server cannot go back to it: no snapshot before it is kept.")),
      h("label", null, "Compare with", second), comparison(one, seen.versions.find((each) => each.version === other)));
  }

  function comparison(one, two) {
    const names = Object.keys(one.metrics).filter((name) => !name.endsWith("_overall")).sort();
    if (!names.length) return empty("This version carries no metrics.", "Those of the newest versions are known while the dashboard listens.");
    const columns = [{ name: "metric" }, { name: one.version, number: true }, ...(two ? [{ name: two.version, number: true }, { name: "difference", number: true }] : [])];
    return table(columns, names.map((name) => [measureName(name), figure(one.metrics[name]),
      ...(two ? [figure(two.metrics[name]), two.metrics[name] === undefined ? dash : signed(one.metrics[name] - two.metrics[name], 4)] : [])]), { label: "metrics" });
  }

  function order(label, body, text, { danger, main, field } = {}) {
    const may = page.mayOrder();
    return h("button", {
      type: "button", class: `${danger ? "danger" : ""}${main ? " main" : ""}`, disabled: !may, title: may ? null : "Sign in with an admin token first", "data-key": `o-${label}`,
      onclick: async () => {
        const answer = await confirm({ title: `${label}?`, text, go: label, danger, field });
        if (answer === null) return;
        try {
          const done = await write("order", { ...body, ...(field ? { reason: answer } : {}) });
          const became = done.state.replace("MODEL_STATE_", "").toLowerCase();
          toast(done.is_live ? `Done: the server serves ${done.version}.` : `Done: ${done.version || "no version"} is ${became}.`);
        } catch (error) {
          toast(error.message);
        }
        page.refresh();
      },
    }, label);
  }

  function timeline() {
    const width = Math.max(280, line.clientWidth || 800), height = 168, left = width < 500 ? 66 : 84, right = 18;
    const timed = seen.versions.filter((one) => one.created_ms);
    if (!timed.length) return empty("No version yet.", "They appear as the trainer sends them.");
    const t1 = seen.now_ms, t0 = Math.max(t1 - 30 * 60000, Math.min(...timed.map((one) => one.created_ms)) - 1000);
    const x = (t) => left + Math.max(0, (t - t0) / Math.max(1, t1 - t0)) * (width - left - right);
    const lanes = { orders: 24, held: 58, snapshot: 92, delta: 126 };
    const mark = (one, ...shapes) => s("g", { class: "version", onclick: () => { chosen = one.version; draw(); } }, s("title", null, `${one.version} ${one.kind} ${one.state} ${clock(one.created_ms)}`), shapes);
    const inside = timed.filter((one) => one.created_ms >= t0 || one.is_live);
    const drawn = inside.map((one) => {
      const at = x(one.created_ms), picked = one.version === chosen ? "chosen" : "";
      if (one.state === "held" || one.state === "rejected") return mark(one, s("rect", { x: at - 6, y: lanes.held - 6, width: 12, height: 12, rx: 2, class: `${one.state} ${picked}` }));
      if (one.kind === "delta") return mark(one, s("line", { x1: at, x2: at, y1: lanes.delta - 11, y2: lanes.delta + 11, class: `delta ${picked}` }));
      return mark(one, s("path", { d: `M${at} ${lanes.snapshot - 8}l8 8l-8 8l-8-8z`, class: `snapshot ${picked}` }));
    });
    const live = inside.find((one) => one.is_live);
    const ring = live ? s("circle", { cx: x(live.created_ms), cy: live.kind === "delta" ? lanes.delta : lanes.snapshot, r: 13, class: "live" }) : null;
    const flags = seen.orders.filter((one) => one.time_ms >= t0).map((one) => s("g", null, s("title", null, `${one.order} ${one.version} ${clock(one.time_ms)}`),
      s("path", { d: `M${x(one.time_ms)} ${lanes.orders + 10}v-20l11 5l-11 5`, class: "order" })));
    const names = Object.entries({ orders: "orders", held: "held", snapshot: "snapshots", delta: "deltas" }).map(([lane, name]) => [
      s("text", { x: 0, y: lanes[lane] + 4, class: "lane" }, name), s("line", { x1: left, x2: width - right, y1: lanes[lane], y2: lanes[lane], class: "grid" })]);
    const words = `${inside.filter((one) => one.kind === "snapshot").length} snapshots, ${inside.filter((one) => one.kind === "delta").length} deltas, ${inside.filter((one) => one.state === "held").length} held; the live one is ${seen.live}`;
    const ticks = [[t0, "start"], [t1, "end"]].map(([t, anchor]) => s("text", { x: x(t), y: height - 8, class: "tick", "text-anchor": anchor }, clock(t)));
    return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Time line: ${words}. The list below has the same versions.` }, names, drawn, ring, flags, ticks);
  }
}
versions.label = "Versions";

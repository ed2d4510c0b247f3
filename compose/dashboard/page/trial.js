// Try it: a user's list with what carried each item; send an event and watch the list change.

import { read, write } from "./api.js";
import { toast } from "./dialog.js";
import { card, empty, h, swap } from "./dom.js";
import { count, decimal, ms, share, signed } from "./format.js";

const GIVE_UP_MS = 15000;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function trial(page) {
  let answer = null, before = null, busy = false, setup = null, version = "";
  const guest = `guest-${Math.random().toString(36).slice(2, 7)}`;
  const input = h("input", { id: "try-user", value: guest, autocomplete: "off", spellcheck: "false", maxlength: "128", required: true });
  const action = h("select", { id: "try-action" });
  const newest = h("div", { class: "row" }), said = h("div", { "aria-live": "polite" }), list = h("div"), about = h("div");
  const form = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); before = null; said.replaceChildren(); ask(); } },
    h("label", { for: "try-user" }, "User id", input), h("label", { for: "try-action" }, "What a click on Send means", action), h("button", { class: "main" }, "Recommend"));
  const root = h("div", { class: "stack" },
    card("Pick a user", { note: "a new guest, or somebody who acted last" }, form, newest), said,
    card("The list", {}, about, list));
  return { title: "Try it", about: "Ask as an app would. Lists asked for here leave no trace; events sent here are real: they count, and the model learns from them.", root, poll };

  async function poll() {
    if (!setup) {
      setup = await read("try");
      action.replaceChildren(...setup.actions.map((name) => h("option", { value: name }, name)));
    }
    const { newest_users: ids } = await read("user");
    swap(newest, ids.slice(0, 8), () => ids.slice(0, 8).map((id) => h("button", { type: "button", class: "small", "data-key": `t-${id}`, onclick: () => { input.value = id; form.requestSubmit(); } }, id)));
    if (!answer && !busy) await ask();
    draw();
  }

  async function ask() {
    busy = true;
    try {
      answer = await read("try", { id: input.value.trim(), num: 10 });
      version = answer.model_version;
    } catch (error) {
      answer = { items: [], error: error.message };
    } finally {
      busy = false;
    }
    draw();
  }

  async function send(item) {
    const user = input.value.trim();
    before = { order: answer.items.map((one) => one.item_id), version, item: item.item_id };
    const started = performance.now();
    busy = true;
    say(`Sending ${action.value} on ${item.title || item.item_id} …`);
    try {
      await write("send", { user_id: user, item_id: item.item_id, action: action.value });
      while (performance.now() - started < GIVE_UP_MS) {
        const next = await read("try", { id: user, num: 10, why: 0 });
        if (next.items.map((one) => one.item_id).join() !== before.order.join()) {
          const took = performance.now() - started;
          answer = await read("try", { id: user, num: 10 });
          const moved = answer.items.filter((one, place) => before.order[place] !== one.item_id).length;
          say(`The list changed ${ms(took)} after the event: ${count(moved)} of ${count(answer.items.length)} places are others. Version ${before.version || "none"} → ${answer.model_version || "none"}.`);
          return;
        }
        await pause(150);
      }
      say(`The list did not change within ${ms(GIVE_UP_MS)}. Data shows whether records wait.`);
    } catch (error) {
      toast(error.message);
      say("");
    } finally {
      busy = false;
      draw();
    }
  }

  function say(text) {
    said.replaceChildren(...(text ? [h("p", { class: "said" }, text)] : []));
  }

  function draw() {
    if (!answer) return;
    swap(about, [answer.model_version, answer.degraded_reasons, answer.is_exact, answer.why_not_explained], () => (answer.error ? null : h("p", { class: "note stack" },
      h("span", null, `Version ${answer.model_version || "none"}, ${decimal(answer.model_age_s, 1)} s old${answer.degraded_reasons.length ? `; lacks: ${answer.degraded_reasons.join(", ")}` : ""}. Scores are log-odds of being wanted.`),
      h("span", null, answer.why_not_explained ? `What carried the items is not known: ${answer.why_not_explained}.`
        : `Beside each: what its score loses when one group of inputs is set to its average (leave one out)${answer.is_exact ? "; scores made again here equal those served" : "; rules changed the scores, which these parts leave out"}.`))));
    swap(list, [answer.items, answer.reasons, answer.error, busy, page.mayOrder(), before?.order], () => {
      if (answer.error) return empty(answer.error, "headrace status shows whether the server runs.");
      if (!answer.items.length) return empty("The list is empty: no item is known yet.", "Announce items and send events: the first_events.py of headrace init does both.");
      return h("ol", { class: "tried", "aria-label": "recommended items" }, answer.items.map(itemOf));
    });
  }

  function itemOf(one, place) {
    const was = before ? before.order.indexOf(one.item_id) : place;
    const move = was < 0 ? h("span", { class: "chip accent" }, "new") : was > place ? h("span", { class: "chip good" }, `↑ ${was - place}`) : was < place ? h("span", { class: "chip" }, `↓ ${place - was}`) : null;
    const heads = Object.entries(one.heads).map(([name, chance]) => `${name} ${share(chance)}`).join(" · ");
    const reasons = (answer.reasons?.[one.item_id] ?? []).filter((part) => Math.abs(part.change) >= 0.005);
    return h("li", { class: `item${before && was !== place ? " moved" : ""}` }, h("span", { class: "rank" }, place + 1),
      h("div", null, h("p", null, h("span", { class: "title" }, one.title || one.item_id), one.title ? h("span", { class: "id" }, one.item_id) : null, " ", move),
        h("p", { class: "note" }, `score ${decimal(one.score, 2)} · from ${one.source}${one.categories.length ? ` · ${one.categories.join(", ")}` : ""}`), heads ? h("p", { class: "note" }, `chance of ${heads}`) : null),
      h("button", { type: "button", "data-key": `s-${one.item_id}`, disabled: busy || !page.mayOrder(), title: page.mayOrder() ? null : "Sign in with an admin token to send events", onclick: () => send(one) }, `Send ${action.value || "event"}`),
      reasons.length ? h("div", { class: "why", role: "group", "aria-label": "what carried it" }, reasons.map((part) => h("span", { class: `chip ${part.change > 0 ? "accent" : ""}` }, `${part.group} ${signed(part.change, 2)}`))) : null);
  }
}
trial.label = "Try it";

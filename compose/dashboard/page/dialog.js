// Asks before something happens; says what happened.

import { h, marked } from "./dom.js";

const dialog = document.getElementById("dialog");
let hide = 0;

// Resolves to what was entered (or true), null where it was called off.
export function confirm({ title, text, field, go, danger }) {
  const input = field ? h("input", { type: field.type ?? "text", autocomplete: "off", value: field.value ?? "", placeholder: field.hint ?? "" }) : null;
  const yes = h("button", { class: `main${danger ? " danger" : ""}`, value: "yes" }, go);
  dialog.replaceChildren(h("form", { method: "dialog" },
    h("h2", { id: "dialog-title" }, title), h("p", null, marked(text)),
    input ? h("label", null, field.label, input) : null,
    h("div", { class: "row" }, yes, h("button", { value: "no", type: "submit", formnovalidate: true }, "Cancel"))));
  dialog.returnValue = "";
  dialog.showModal();
  (input ?? yes).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? (input ? input.value : true) : null), { once: true });
  });
}

export function toast(text) {
  const box = document.getElementById("toast");
  box.replaceChildren(...marked(text));
  clearTimeout(hide);
  hide = setTimeout(() => box.replaceChildren(), 6000);
}

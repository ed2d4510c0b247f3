// Builds elements. Everything from outside becomes text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// Replaces what a container holds where `state` says something new; who had the focus keeps it (by data-key).
export function swap(container, state, make) {
  const told = JSON.stringify(state);
  if (container.told === told) return;
  const inside = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  container.told = told;
  container.replaceChildren(...[make()].flat(3).filter(Boolean));
  if (inside) container.querySelector(`[data-key="${CSS.escape(inside)}"]`)?.focus({ preventScroll: true });
}

export function card(title, { note, wide, id } = {}, ...children) {
  const heading = h("div", { class: "card-head" }, h("h2", null, title), note ? h("p", { class: "note" }, note) : null);
  return h("section", { class: `card${wide ? " wide" : ""}`, id, "aria-label": title }, heading, ...children);
}

export function empty(text, mend) {
  return h("div", { class: "empty" }, h("p", null, text), mend ? h("p", { class: "note" }, mend) : null);
}

// A table that scrolls inside itself where it is wider than the screen.
export function table(columns, rows, { label } = {}) {
  const head = h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.number ? "num" : "" }, column.name)));
  const body = rows.map((cells) =>
    h("tr", null, cells.map((cell, place) => h(place ? "td" : "th", {
      scope: place ? null : "row", class: columns[place].number ? "num" : columns[place].class ?? "",
    }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label ?? "table" },
    h("table", null, h("thead", null, head), h("tbody", null, body)));
}

export const code = (text) => h("code", null, text);

// Text with `code` between backticks, as messages of the commands have it.
export function marked(text) {
  return text.split("`").map((part, place) => (place % 2 ? code(part) : part));
}

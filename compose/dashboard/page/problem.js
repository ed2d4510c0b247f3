// One thing that is wrong, with the mend and the view that tells more.

import { h, marked } from "./dom.js";

export function problemLine(one, isHere) {
  return h("div", { class: `problem ${one.level}` }, h("b", null, one.level === "bad" ? "Broken" : "Look at"),
    h("span", null, marked(one.text)), isHere ? null : h("a", { href: `#${one.view}`, "data-key": `go-${one.text}` }, "Show"),
    h("p", { class: "note" }, marked(one.mend)));
}

// Charts as SVG, drawn to the width that there is; each tells its newest figures in words too.

import { h, s } from "./dom.js";
import { clock } from "./format.js";

const drawn = new Map();
const observer = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const one = drawn.get(target);
    if (one && Math.abs(one.width - contentRect.width) > 1) draw(target);
  }
});

function chart(draw_, state, height) {
  const box = h("div", { class: "chart" });
  box.style.height = `${height}px`;
  drawn.set(box, { draw: draw_, state, height, width: 0 });
  observer.observe(box);
  requestAnimationFrame(() => (box.isConnected ? draw(box) : forget(box)));
  return box;
}

function forget(box) {
  observer.unobserve(box);
  drawn.delete(box);
}

function draw(box) {
  const one = drawn.get(box);
  for (const other of drawn.keys()) if (other !== box && !other.isConnected) forget(other);
  if (!one) return;
  one.width = box.clientWidth;
  if (one.width > 20) box.replaceChildren(...[one.draw(one.state, one.width, one.height)].flat());
}

function ticks(low, high, wanted) {
  const span = high - low || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * span; value += step) found.push(Math.abs(value) < 1e-9 * span ? 0 : value);
  return found;
}

// At most so many points: means of equal runs, so that noise does not hide the way.
function thinned(points, most) {
  if (points.length <= most) return points;
  const run = points.length / most;
  const means = [];
  for (let start = 0; start < points.length - 1; start += run) {
    const part = points.slice(Math.floor(start), Math.max(Math.floor(start) + 1, Math.floor(start + run)));
    means.push([part.at(-1)[0], part.reduce((sum, point) => sum + point[1], 0) / part.length]);
  }
  return means;
}

// series: [{name, points: [[t, v]], tone}], format(v) -> text
// least: the smallest span that is drawn, so that noise in the last digit fills no chart
export function lines(series, { height = 190, format, zero = false, least = 0, label }) {
  return chart(drawLines, { series: series.filter((one) => one.points.length), format, zero, least, label }, height);
}

function drawLines({ series: whole, format, zero, least, label }, width, height) {
  const series = whole.map((one) => ({ ...one, points: thinned(one.points, Math.max(40, Math.round(width / 5))) }));
  const points = series.flatMap((one) => one.points);
  if (points.length < 2) return h("p", { class: "chart-wait" }, "Waiting for figures: one comes every two seconds.");
  const left = 52, right = width < 420 ? 10 : 16, top = 10, bottom = 24;
  const t0 = Math.min(...points.map((p) => p[0])), t1 = Math.max(...points.map((p) => p[0]));
  let low = Math.min(...points.map((p) => p[1])), high = Math.max(...points.map((p) => p[1]));
  if (zero) low = Math.min(0, low);
  const lacks = Math.max(0, least - (high - low));
  low -= zero ? 0 : lacks / 2;
  high += zero ? lacks : lacks / 2;
  const pad = (high - low || Math.abs(high) || 1) * 0.12;
  if (!zero) low -= pad;
  high += pad;
  const x = (t) => left + ((t - t0) / (t1 - t0 || 1)) * (width - left - right);
  const y = (v) => height - bottom - ((v - low) / (high - low)) * (height - top - bottom);
  const grid = ticks(low, high, 3).map((v) => [
    s("line", { x1: left, x2: width - right, y1: y(v), y2: y(v), class: "grid" }),
    s("text", { x: left - 8, y: y(v) + 4, class: "tick", "text-anchor": "end" }, format(v)),
  ]);
  const times = (width < 420 ? [t0, t1] : [t0, (t0 + t1) / 2, t1]).map((t, place, all) =>
    s("text", { x: x(t), y: height - 6, class: "tick", "text-anchor": place === 0 ? "start" : place === all.length - 1 ? "end" : "middle" }, clock(t)));
  const paths = series.map((one) => s("path", {
    class: `line ${one.tone}`, d: one.points.map(([t, v], place) => `${place ? "L" : "M"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`).join(""),
  }));
  const ends = series.map((one) => {
    const [t, v] = one.points.at(-1);
    return s("circle", { class: `dot ${one.tone}`, cx: x(t), cy: y(v), r: 3.5 });
  });
  const hair = s("line", { class: "hair", y1: top, y2: height - bottom, x1: -9, x2: -9 });
  const tip = h("div", { class: "tip", hidden: true });
  const words = series.map((one) => `${one.name} ${format(one.points.at(-1)[1])}`).join(", ");
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}: newest ${words}` },
    grid, times, paths, ends, hair);
  svg.addEventListener("pointermove", (event) => {
    const at = t0 + ((event.offsetX - left) / (width - left - right)) * (t1 - t0);
    const near = series.map((one) => [one, one.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a))]);
    const [t] = near[0][1];
    hair.setAttribute("x1", x(t));
    hair.setAttribute("x2", x(t));
    tip.replaceChildren(h("b", null, clock(t)), ...near.map(([one, p]) => h("span", null, h("i", { class: `key ${one.tone}` }), `${one.name} ${format(p[1])}`)));
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max(x(t) + 12, 4), width - 190)}px`;
  });
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    hair.setAttribute("x1", -9);
    hair.setAttribute("x2", -9);
  });
  return [svg, tip];
}

export function legend(series) {
  return h("ul", { class: "legend" }, series.map((one) => h("li", null, h("i", { class: `key ${one.tone}` }), one.name)));
}

// Small bars of one colour: counts a minute.
export function spark(values, { height = 34, label }) {
  return chart(drawSpark, { values, label }, height);
}

function drawSpark({ values, label }, width, height) {
  const high = Math.max(1, ...values);
  const step = width / values.length;
  return s("svg", { width, height, role: "img", "aria-label": label },
    s("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, class: "grid" }),
    values.map((value, place) => s("rect", {
      x: place * step, y: height - 1 - (value / high) * (height - 2), width: Math.max(1, step - 1.5), height: (value / high) * (height - 2), class: "bar",
    })));
}

// Stacked bars: layers [{name, values, tone}] over minutes.
export function stacked(times, layers, { height = 200, label }) {
  return chart(drawStacked, { times, layers, label }, height);
}

function drawStacked({ times, layers, label }, width, height) {
  const left = 44, top = 8, bottom = 24;
  const totals = times.map((_, place) => layers.reduce((sum, layer) => sum + layer.values[place], 0));
  const high = Math.max(1, ...totals) * 1.08;
  const step = (width - left) / times.length;
  const y = (v) => height - bottom - (v / high) * (height - top - bottom);
  const grid = ticks(0, high, 3).map((v) => [
    s("line", { x1: left, x2: width, y1: y(v), y2: y(v), class: "grid" }),
    s("text", { x: left - 8, y: y(v) + 4, class: "tick", "text-anchor": "end" }, v.toLocaleString("en")),
  ]);
  const base = times.map(() => 0);
  const bars = layers.map((layer) => layer.values.map((value, place) => {
    const from = base[place];
    base[place] += value;
    return value ? s("rect", { x: left + place * step + 1, width: Math.max(1, step - 2), y: y(from + value), height: Math.max(0.5, y(from) - y(from + value)), class: `area ${layer.tone}` },
      s("title", null, `${clock(times[place])}: ${layer.name} ${value} a minute`)) : null;
  }));
  const ends = [[times[0], "start", left], [times.at(-1), "end", width]].map(([t, anchor, x]) =>
    s("text", { x, y: height - 6, class: "tick", "text-anchor": anchor }, clock(t).slice(0, 5)));
  return s("svg", { width, height, role: "img", "aria-label": label }, grid, bars, ends);
}

// A share or a length beside its figure.
export function meter(part, tone = "") {
  const bar = h("span", { class: `meter-in ${tone}` });
  bar.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, bar);
}

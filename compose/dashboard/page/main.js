// The frame: which view is open, what stands above it, signing in, the theme.

import { read, signIn, signOut } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { h, swap } from "./dom.js";
import { age, ms, rate } from "./format.js";
import { overview } from "./overview.js";
import { problemLine } from "./problem.js";
import { learning } from "./learning.js";
import { versions } from "./versions.js";
import { traffic } from "./traffic.js";
import { data } from "./data.js";
import { users } from "./users.js";
import { trial } from "./trial.js";
import { insights } from "./insights.js";

const POLL_MS = 2000;
const VIEWS = { overview, learning, versions, traffic, data, users, try: trial, insights };
const main = document.getElementById("main");
const page = { summary: null, name: "", view: null, failed: "" };

function nameOf(hash) {
  const name = hash.replace(/^#/, "").split("?")[0];
  return name in VIEWS ? name : "overview";
}

function open() {
  const name = nameOf(location.hash);
  if (name === page.name) return;
  page.name = name;
  page.view = VIEWS[name]({ summary: () => page.summary, refresh: tick, mayOrder: () => page.summary?.may_order ?? false });
  main.replaceChildren(
    h("div", { class: "view-head" }, h("h1", null, page.view.title), h("p", null, page.view.about)),
    page.view.root,
  );
  document.title = `${page.view.title} · Headrace`;
  drawNav();
  // On a phone the views stand in one line that scrolls.
  document.querySelector("#nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  window.scrollTo(0, 0);
  tick();
}

function drawNav() {
  const counts = {};
  for (const one of page.summary?.problems ?? []) {
    counts[one.view] = { number: (counts[one.view]?.number ?? 0) + 1, bad: counts[one.view]?.bad || one.level === "bad" };
  }
  swap(document.getElementById("nav"), [page.name, counts], () =>
    Object.entries(VIEWS).map(([name, view]) => h("a", { href: `#${name}`, "data-key": `nav-${name}`, "aria-current": name === page.name ? "page" : null },
      view.label, counts[name] ? h("span", { class: `badge${counts[name].bad ? " bad" : ""}`, "aria-label": `${counts[name].number} to look at` }, counts[name].number) : null)));
}

function drawNow() {
  const one = page.summary;
  const figures = [
    ["live version", one.version || "none yet"],
    ["in service for", one.loaded_ms ? age(one.now_ms - one.loaded_ms) : "–"],
    ["event → served", ms(one.freshness.served?.p50)],
    ["answers", rate(one.requests_per_s, "")],
    ["an answer, p99", ms(one.recommend_ms.p99)],
    ["events", rate(one.events_per_s, "")],
  ];
  swap(document.getElementById("now"), figures, () => figures.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function drawNotices() {
  const serious = (page.summary?.problems ?? []).filter((one) => one.level === "bad" || one.view === page.name).slice(0, 4);
  const told = page.failed ? [{ level: "bad", text: page.failed, mend: "", view: page.name }] : page.name === "overview" ? [] : serious;
  swap(document.getElementById("notices"), told, () => told.map((one) => problemLine(one, one.view === page.name)));
}

let running = false;
async function tick() {
  if (running || document.hidden) return;
  running = true;
  const view = page.view;
  try {
    page.summary = await read("summary");
    page.failed = "";
    drawNow();
    drawSign();
    await view.poll(page.summary);
  } catch (error) {
    page.failed = error.message;
    if (error.status === 401) drawSignIn();
  } finally {
    running = false;
    drawNav();
    drawNotices();
    if (view !== page.view) tick();
  }
}

function drawSign() {
  const may = page.summary.may_order;
  swap(document.getElementById("sign"), may, () => [may ? "Sign out" : "Sign in to act"]);
}

function drawSignIn() {
  document.getElementById("sign").replaceChildren("Sign in");
}

async function askForToken() {
  const token = await confirm({
    title: "Sign in",
    text: "Orders and events need a token of role admin. `headrace dashboard --sign-in` prints a link that signs in; the token itself is in admin.token of the state directory.",
    field: { label: "Token", type: "password" },
    go: "Sign in",
  });
  if (!token) return;
  try {
    await signIn(token);
    toast("Signed in.");
  } catch (error) {
    toast(error.message);
  }
  tick();
}

document.getElementById("sign").addEventListener("click", async () => {
  if (!page.summary?.may_order) return askForToken();
  await signOut().catch((error) => toast(error.message));
  tick();
});

const THEMES = ["auto", "light", "dark"];
const theme = document.getElementById("theme");
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
  try {
    localStorage.setItem("theme", name);
  } catch { /* No storage: the theme holds until the page is left. */ }
}
theme.addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % 3]));
let kept = "auto";
try {
  kept = localStorage.getItem("theme") ?? "auto";
} catch { /* Likewise. */ }
setTheme(THEMES.includes(kept) ? kept : "auto");

async function begin() {
  const handed = new URLSearchParams(location.hash.slice(1)).get("token");
  if (handed) {
    history.replaceState(null, "", location.pathname);
    await signIn(handed).then(() => toast("Signed in."), (error) => toast(error.message));
  }
  window.addEventListener("hashchange", open);
  document.addEventListener("visibilitychange", tick);
  open();
  setInterval(tick, POLL_MS);
}
begin();

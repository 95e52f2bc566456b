// What the pages add where scripts run: lists that follow the folder and the words typed, pictures enlarged, a drawing
// that zooms. All of it is kept in the address, so that going back and loading again lose nothing.
"use strict";
document.documentElement.classList.add("js");
const EVERY = { rows: 3000, live: 2000 };
const told = document.getElementById("told");
const say = words => { if (told && told.textContent !== words) told.textContent = words; };
const address = () => new URL(location.href);
const keep = url => history.replaceState(history.state, "", url);

// One part of the page that is asked for again and again, and put in place where it differs.
const part = document.querySelector("[data-live]");
let seen = null, asked = 0;
async function renew(url = address()) {
  const number = ++asked;
  url.searchParams.set("part", part.dataset.live);
  url.hash = "";
  let answer;
  try { answer = await fetch(url, { headers: { Accept: "text/html" } }); } catch {
    say("The page is closed: intaglio view has ended."); return;
  }
  if (!answer.ok || number !== asked) return;
  const text = await answer.text();
  if (number !== asked || text === seen) return;
  const first = seen === null && part.dataset.live === "live";
  seen = text;
  const before = part.querySelector("[data-told]")?.textContent, status = part.querySelector("[data-told]")?.dataset.told;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  if (first && same(text)) return;
  part.innerHTML = text;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  const now = part.querySelector("[data-told]");
  if (!now) return;
  if (part.dataset.live === "rows" && now.textContent !== before) say(now.textContent);
  if (part.dataset.live === "live" && now.dataset.told !== status) { say(`This run is ${now.dataset.told} now.`); settle(); }
}
function same(text) {
  const made = document.createElement("div");
  made.innerHTML = text;
  return made.textContent.replace(/\s+/g, " ").trim() === part.textContent.replace(/\s+/g, " ").trim();
}
async function settle() {  // results and settings change when a run ends
  const answer = await fetch(location.href).catch(() => null);
  const old = document.getElementById("settled");
  if (!answer?.ok || !old) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("settled");
  if (fresh) old.replaceWith(fresh);
}
if (part) setInterval(() => { if (!document.hidden && !document.querySelector("dialog[open]")) renew(); }, EVERY[part.dataset.live]);

// The list of runs: words and filters take hold as they change, and picked runs are kept on all its pages.
const filters = document.getElementById("filters");
if (filters) {
  let waiting = 0;
  const search = () => {
    const url = new URL("/", location.href);
    for (const [name, value] of new FormData(filters)) if (value && name !== "pick") url.searchParams.append(name, value);
    for (const name of address().searchParams.getAll("pick")) url.searchParams.append("pick", name);
    keep(url);
    renew(url);
  };
  filters.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 160); });
  filters.addEventListener("submit", event => { event.preventDefault(); clearTimeout(waiting); search(); });
  part.addEventListener("change", event => {
    const box = event.target.closest("input[name=run]");
    if (!box) return;
    const url = address(), picks = url.searchParams.getAll("pick").filter(name => name !== box.value);
    url.searchParams.delete("pick");
    for (const name of box.checked ? [...picks, box.value] : picks) url.searchParams.append("pick", name);
    keep(url);
    renew(url);
  });
}

// Parts that were opened stay open.
const opened = new Set((address().searchParams.get("open") || "").split(",").filter(Boolean));
for (const details of document.querySelectorAll("details[id]")) {
  details.open = details.open || opened.has(details.id);
  details.addEventListener("toggle", () => {
    opened[details.open ? "add" : "delete"](details.id);
    const url = address();
    if (opened.size) url.searchParams.set("open", [...opened].join(",")); else url.searchParams.delete("open");
    keep(url);
  });
}

// A picture enlarged; arrows lead to the next one.
document.addEventListener("click", event => {
  const link = event.target.closest("a.zoom");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const dialog = document.createElement("dialog"), image = new Image(), words = document.createElement("p");
  dialog.setAttribute("aria-label", "Enlarged picture");
  dialog.append(image, words);
  const all = [...document.querySelectorAll("a.zoom")];
  let place = all.indexOf(link);
  const show = () => {
    const small = all[place].querySelector("img");
    image.src = all[place].href; image.alt = small.alt; image.className = small.className; words.textContent = small.alt;
  };
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", key => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
    if (step) { place = (place + step + all.length) % all.length; show(); }
  });
  dialog.addEventListener("close", () => dialog.remove());
  show();
  document.body.append(dialog);
  dialog.showModal();
});

// The drawing of a causal graph: its view box is what is seen of it, as x, y and the share of its width.
const canvas = document.querySelector(".canvas"), drawing = canvas?.querySelector("svg");
if (drawing) {
  const whole = drawing.viewBox.baseVal, [W, H] = [whole.width, whole.height], home = { x: 0, y: 0, k: 1 };
  const wanted = (address().searchParams.get("view") || "").split(",").map(Number);
  let view = wanted.length === 3 && wanted.every(Number.isFinite) ? { x: wanted[0], y: wanted[1], k: wanted[2] } : { ...home }, saving = 0;
  document.querySelector(".tools").hidden = false;
  const draw = () => {
    view.k = Math.min(1.6, Math.max(0.06, view.k));
    view.x = Math.min(W - 20, Math.max(20 - W * view.k, view.x));
    view.y = Math.min(H - 20, Math.max(20 - H * view.k, view.y));
    drawing.setAttribute("viewBox", `${view.x} ${view.y} ${W * view.k} ${H * view.k}`);
    canvas.classList.toggle("near", view.k < 0.98);
    clearTimeout(saving);
    saving = setTimeout(() => {
      const url = address(), still = view.k === 1 && !view.x && !view.y;
      if (still) url.searchParams.delete("view");
      else url.searchParams.set("view", [view.x.toFixed(1), view.y.toFixed(1), view.k.toFixed(3)].join(","));
      keep(url);
    }, 150);
  };
  const point = event => new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
  const zoom = (by, at) => {
    const k = Math.min(1.6, Math.max(0.06, view.k * by)), ratio = k / view.k;
    at ??= { x: view.x + W * view.k / 2, y: view.y + H * view.k / 2 };
    view = { x: at.x - (at.x - view.x) * ratio, y: at.y - (at.y - view.y) * ratio, k };
    draw();
  };
  const fit = () => { view = { ...home }; draw(); };
  const tools = { in: () => zoom(1 / 1.35), out: () => zoom(1.35), fit };
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", tools[button.dataset.zoom]);
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !canvas.contains(document.activeElement)) return;  // else the page could not be scrolled past
    event.preventDefault();
    zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 60) / 240), point(event));
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const act = { "+": tools.in, "=": tools.in, "-": tools.out, 0: fit }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(move || act)) return;
    event.preventDefault();
    if (move) { view.x += move[0] * W * view.k * 0.12; view.y += move[1] * H * view.k * 0.12; draw(); } else act();
  });
  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", event => { fingers.set(event.pointerId, event); moved = 0; });
  canvas.addEventListener("pointermove", event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    if (fingers.size === 1 && moved > 4) {
      canvas.setPointerCapture(event.pointerId);
      const [a, b] = [point(before), point(event)];
      view.x -= b.x - a.x; view.y -= b.y - a.y; draw();
    } else if (fingers.size === 2) {
      const other = [...fingers.values()].find(one => one.pointerId !== event.pointerId);
      const far = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoom(far(before) / Math.max(1, far(event)), point(other));
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) canvas.addEventListener(end, event => fingers.delete(event.pointerId));
  canvas.addEventListener("click", event => { if (moved > 6) { event.preventDefault(); event.stopPropagation(); } }, true);
  const choose = () => {
    for (const old of document.querySelectorAll(".chosen")) old.classList.remove("chosen");
    const row = location.hash.startsWith("#edge-") ? document.getElementById(location.hash.slice(1)) : null;
    if (!row) return;
    row.classList.add("chosen");
    drawing.querySelector(`a[href="${location.hash}"]`)?.classList.add("chosen");
    const details = row.querySelector("details");
    details.open = true;
    say(details.textContent.replace(/\s+/g, " ").trim());
    const list = row.parentElement;
    const [place, frame] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
    if (place.top < frame.top || place.bottom > frame.bottom) list.scrollTop += place.top - frame.top - 8;
  };
  drawing.addEventListener("click", event => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    const url = address();
    url.hash = link.getAttribute("href");
    keep(url);
    choose();
    if (innerWidth < 900) document.querySelector(".edgelist li.chosen")?.scrollIntoView({ block: "nearest" });
  });
  for (const summary of document.querySelectorAll(".edgelist summary")) summary.addEventListener("click", () => {
    const url = address();
    url.hash = summary.closest("li").id;
    keep(url);
    setTimeout(choose);
  });
  addEventListener("hashchange", choose);
  draw();
  choose();
}

// The page's parts put together.
import { Classes } from "./classes.js";
import { List } from "./list.js";
import { Pointer } from "./pointer.js";
import { Saver, Strokes } from "./strokes.js";
import { View } from "./view.js";

const POLL = 5000; // milliseconds
const element = id => document.getElementById(id);
const below = (kind, name) => `${kind}/${encodeURIComponent(name)}`;

async function getJson(path) {
  const answer = await fetch(path);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const start = await getJson("start");
const classes = new Classes(element("classes"), start.classes);
const view = new View(element("canvas"), start.classes.map(({ colour }) => `rgb(${colour.join(",")})`));
const saver = new Saver(told);
const list = new List(start.photos, open);
const pointer = new Pointer(view, brush, add);
let strokes = null; // of the photo that is shown
let opening = 0; // counts photos asked for: answers for earlier ones come too late

function brush() {
  return { tool: tool(), cls: classes.chosen, width: Number(element("width").value) };
}

function tool() { return document.querySelector("#tool :checked").value; }

async function open(name) {
  const asked = ++opening;
  busy(true);
  pointer.cancel();
  element("photos").classList.remove("open");
  list.mark(name);
  element("name").textContent = element("name").title = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  try {
    const photo = Object.assign(new Image(), { src: below("photo", name) });
    const waiting = saver.busy.get(name);
    const [saved] = await Promise.all([waiting ? null : getJson(below("strokes", name)), photo.decode()]);
    if (asked !== opening) return;
    strokes = waiting ?? new Strokes(name, saved);
    view.show(photo, strokes.size);
    busy(false);
    say("");
    refresh();
    showOverlay();
    const following = list.beside(1);
    if (following) new Image().src = below("photo", following);
  } catch (error) {
    if (asked === opening) say(`${name} cannot be shown: ${error.message}`);
  }
}

function add(stroke) { change(() => strokes.add(stroke)); }

function change(make) {
  if (!strokes) return;
  make();
  refresh();
  saver.save(strokes);
}

/** Shows the strokes as they are here. */
function refresh() {
  view.strokes = strokes.strokes;
  view.draw();
  element("undo").disabled = !strokes.canUndo;
  element("redo").disabled = !strokes.canRedo;
  element("clear").disabled = !strokes.strokes.length;
  classes.tellPhoto(strokes.pixels, strokes.size[0] * strokes.size[1]);
}

/** What the saver says. */
function told(kind, of, text) {
  const status = element("status");
  status.className = kind;
  status.textContent = { saving: "saving …", saved: "saved", waits: "no answer: trying again" }[kind] ?? "";
  if (kind === "merged") say("Also changed in another window: both have been kept.");
  if (kind === "replaced") say("Changed in another window: its strokes are shown; your last change was not made.");
  if (kind === "refused") say(text);
  if (kind === "saved") {
    list.tellOne(of.name, of.pixels.reduce((sum, count) => sum + count, 0) / (of.size[0] * of.size[1]));
    if (of === strokes && element("overlay").value === "preview") showOverlay();
    poll();
  }
  if (of === strokes) refresh();
}

function busy(yes) { element("stage").setAttribute("aria-busy", yes); }

function say(text) {
  element("message").hidden = !text;
  element("message").textContent = text;
}

/** Loads what the model says; while an answer is awaited, at most one more is asked for. */
let overlaid = Promise.resolve(), wanted = 0;
function showOverlay() {
  const asked = ++wanted;
  overlaid = overlaid.then(async () => {
    if (asked !== wanted) return;
    const kind = element("overlay").value;
    const name = strokes.name;
    if (!kind) {
      view.overlay = null;
    } else {
      busy(true);
      try {
        const picture = Object.assign(new Image(), { src: `${below(kind, name)}?${strokes.revision}` });
        await picture.decode();
        if (name === strokes.name) [view.overlay, view.smooth] = [picture, kind === "doubt"];
      } catch {
        say(`The ${kind} cannot be shown.`);
      }
      busy(false);
    }
    view.draw();
  });
}

async function leastSure() {
  const { x, y } = await getJson(below("least-sure", strokes.name));
  view.goTo(x, y);
}

async function poll() {
  let found;
  try {
    found = await getJson("progress");
  } catch {
    return; // the saver says so if it matters
  }
  list.tell(found.shares, found.doubts);
  classes.tellAll(found.pixels);
  if (found.failed) say(`The model has stopped: ${found.failed}`);
}

/** Another window may have drawn on the photo. */
async function lookAgain() {
  if (document.hidden || !strokes || strokes.unsaved) return;
  const seen = strokes;
  const saved = await getJson(below("strokes", seen.name)).catch(() => null);
  if (!saved || seen !== strokes || seen.unsaved || saved.revision === seen.revision) return;
  strokes = new Strokes(seen.name, saved);
  refresh();
}

function go(step) {
  const name = list.beside(step);
  if (name) open(name);
}

function widen(by) {
  const input = element("width");
  input.value = Number(input.value) + by;
  element("width-shown").textContent = `${input.value} px`;
}

function choose(value) { document.querySelector(`#tool [value=${value}]`).checked = true; toolChanged(); }

function toolChanged() { view.canvas.classList.toggle("moves", tool() === "move" || pointer.held); }

function nextOverlay() {
  if (!start.model) return;
  const select = element("overlay");
  select.selectedIndex = (select.selectedIndex + 1) % select.length;
  showOverlay();
}

const KEYS = {
  b: () => choose("brush"), p: () => choose("point"), r: () => choose("box"), e: () => choose("erase"),
  h: () => choose("move"), ",": () => widen(-1), ".": () => widen(1),
  "[": () => classes.choose(classes.chosen - 1), "]": () => classes.choose(classes.chosen + 1),
  Escape: () => pointer.cancel(), ArrowLeft: () => go(-1), ArrowRight: () => go(1),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), f: () => view.fit(),
  o: nextOverlay, w: () => start.model && leastSure(), "?": () => element("help").showModal(),
  s: () => hide(true), " ": () => hold(true),
};
const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

function hide(yes) { view.hidden = yes; view.draw(); }
function hold(yes) { pointer.held = yes; toolChanged(); }

function keyed(event) {
  const typed = event.target.matches("input[type=search], select, dialog *");
  if (typed || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let act = event.shiftKey && MOVES[key] ? () => view.move(...MOVES[key]) : KEYS[key];
  if (/^\d$/.test(key)) act = () => Number(key || 10) <= start.classes.length && classes.choose((Number(key) + 9) % 10);
  if (event.ctrlKey || event.metaKey) {
    act = { z: event.shiftKey ? redo : undo, y: redo }[key];
  } else if (event.target.matches("button, input") && (key === " " || key.startsWith("Arrow"))) {
    return; // theirs
  }
  if (!act) return;
  event.preventDefault();
  act();
}

function undo() { change(() => strokes.undo()); }
function redo() { change(() => strokes.redo()); }

const CLICKS = {
  undo, redo, clear: () => change(() => strokes.set([])), previous: () => go(-1), next: () => go(1),
  "zoom-in": () => view.zoom(1.25), "zoom-out": () => view.zoom(0.8), fit: () => view.fit(),
  "least-sure": leastSure, "open-help": () => element("help").showModal(),
  "open-photos": () => element("photos").classList.add("open"),
  "close-photos": () => element("photos").classList.remove("open"),
  theme: () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  },
};

for (const [id, act] of Object.entries(CLICKS)) element(id).addEventListener("click", act);
element("tool").addEventListener("change", toolChanged);
element("overlay").addEventListener("change", showOverlay);
element("width").addEventListener("input", () => widen(0));
element("message").addEventListener("click", () => say(""));
addEventListener("keydown", keyed);
addEventListener("keyup", ({ key }) => { if (key === "s") hide(false); if (key === " ") hold(false); });
addEventListener("focus", lookAgain);
addEventListener("beforeunload", event => { if (saver.waiting) event.preventDefault(); });

element("width").value = start.width;
widen(0);
element("model").hidden = !start.model;
element("order").hidden = !start.model;
if (start.model) element("order").value = "doubt";
await poll();
list.arrange();
const named = decodeURIComponent(location.hash.slice(1));
await open(start.photos.includes(named) ? named : list.first());
setInterval(() => { poll(); lookAgain(); }, POLL);

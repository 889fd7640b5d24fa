// Mouse, pen and fingers on the canvas: one draws, two move and zoom.
import { TAKES_AWAY } from "./view.js";

const APART = 1.5; // screen pixels between the points of a stroke

export class Pointer {
  /** `brush()` gives {tool, cls, width}; `done(stroke)` gets each finished one. */
  constructor(view, brush, done) {
    Object.assign(this, { view, brush, done, held: false, tool: null });
    this.down = new Map();
    const canvas = view.canvas;
    canvas.addEventListener("pointerdown", event => this.#start(event));
    canvas.addEventListener("pointermove", event => this.#move(event));
    canvas.addEventListener("pointerup", event => this.#end(event));
    canvas.addEventListener("pointercancel", event => this.#end(event, true));
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    canvas.addEventListener("wheel", event => this.#wheel(event), { passive: false });
  }

  /** Gives up the stroke that is being drawn. */
  cancel() {
    this.tool = null;
    this.view.current = null;
    this.view.draw();
  }

  #start(event) {
    if (event.button > 1) return;
    this.view.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.#at(event));
    if (this.down.size > 1) {
      this.cancel();
      return;
    }
    const brush = this.brush();
    this.tool = event.button === 1 || this.held ? "move" : brush.tool;
    if (this.tool === "move") return;
    const [x, y] = this.#point(event);
    const cls = this.tool === "erase" ? TAKES_AWAY : brush.cls;
    this.view.current = this.tool === "box"
      ? { x: [x, x, x, x], y: [y, y, y, y], cls, filled: true }
      : { x: [x], y: [y], cls, width: brush.width };
    this.view.draw();
  }

  #move(event) {
    const before = this.down.get(event.pointerId);
    if (!before) return;
    const now = this.#at(event);
    this.down.set(event.pointerId, now);
    if (this.down.size === 2) return this.#pinch(event.pointerId, before, now);
    if (this.tool === "move") return this.view.move(now[0] - before[0], now[1] - before[1]);
    const current = this.view.current;
    if (!current || this.tool === "point") return;
    if (this.tool === "box") {
      const [x, y] = this.#point(event);
      current.x = [current.x[0], x, x, current.x[0]];
      current.y = [current.y[0], current.y[0], y, y];
    } else {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.#extend(current, this.#point(each));
    }
    this.view.draw();
  }

  #extend(stroke, [x, y]) {
    const last = stroke.x.length - 1;
    if (Math.hypot(x - stroke.x[last], y - stroke.y[last]) * this.view.scale < APART) return;
    stroke.x.push(x);
    stroke.y.push(y);
  }

  #end(event, cancelled = false) {
    if (!this.down.delete(event.pointerId)) return;
    const stroke = this.view.current;
    const tool = this.tool;
    this.cancel();
    if (!stroke || cancelled) return;
    const finished = tool === "box" ? this.#box(stroke) : this.#line(stroke);
    if (finished) this.done(finished);
  }

  /** Single points are clicks; those outside of the photo are left out. */
  #line(stroke) {
    const [x, y] = [stroke.x.map(round), stroke.y.map(round)];
    if (x.length > 1) return { ...stroke, x, y };
    const [width, height] = this.view.size;
    const fits = x[0] >= -0.5 && y[0] >= -0.5 && x[0] < width - 0.5 && y[0] < height - 0.5;
    return fits ? { ...stroke, x: Math.max(x[0], 0), y: Math.max(y[0], 0) } : null;
  }

  /** A box has whole pixels inside, and ends at the photo's border. */
  #box(stroke) {
    const sides = [stroke.x, stroke.y].map((values, axis) => {
      const [low, high] = [Math.min(...values), Math.max(...values)].map(value => Math.round(value + 0.5) - 0.5);
      return [Math.max(low, -0.5), Math.min(high, this.view.size[axis] - 0.5)];
    });
    const [[left, right], [top, bottom]] = sides;
    if (right <= left || bottom <= top) return null;
    return { ...stroke, x: [left, right, right, left], y: [top, top, bottom, bottom] };
  }

  #pinch(id, before, now) {
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, place]) => place);
    const distance = place => Math.hypot(place[0] - other[0], place[1] - other[1]);
    const middle = place => [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    const [from, to] = [middle(before), middle(now)];
    this.view.move(to[0] - from[0], to[1] - from[1]);
    this.view.zoom(Math.max(distance(now), 1) / Math.max(distance(before), 1), ...to);
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    this.view.zoom(Math.exp(-event.deltaY * lines * 0.0015), ...this.#at(event));
  }

  #at(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #point(event) { return this.view.point(...this.#at(event)); }
}

function round(value) { return Math.round(value * 100) / 100; }

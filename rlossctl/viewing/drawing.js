// One drawing: which blocks are closed, where the boxes then stand, and what part of it the stage shows.
const GAP = 30, NEAR = 5;
const NS = "http://www.w3.org/2000/svg";
const draw = (name, attributes, ...children) => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

class Drawing {
  constructor(stage, data) {
    Object.assign(this, { stage, data, x: 0, y: 0, zoom: 1, pointers: new Map(), dragged: false });
    this.svg = stage.querySelector("svg");
    this.svg.removeAttribute("viewBox");
    this.view = stage.querySelector(".view");
    this.boxes = [...this.view.querySelectorAll("[data-box]")];
    this.lines = [...this.view.querySelectorAll(".line")];
    this.closedBoxes = [...this.view.querySelectorAll("[data-block]")];
    this.closed = data.blocks.map(() => true);
    // Blocks come with the largest first: what holds one stands before it.
    this.holders = data.blocks.map((block, index) => data.blocks.map((_, other) => other)
      .filter(other => other < index && data.blocks[other].start <= block.start && data.blocks[other].end >= block.end));
    this.frames = data.blocks.map(block => {
      const words = `− ${block.title} x ${block.times}`;
      const frame = draw("g", { class: "frame", tabindex: -1, role: "button", "aria-expanded": "true" },
        draw("rect", { class: "area", rx: 6 }),
        draw("rect", { class: "tab", y: -20, width: 6.3 * words.length + 12, height: 18, rx: 4 }),
        draw("text", { x: 6, y: -7 }, words));
      this.view.prepend(frame);
      return frame;
    });
    this.mark();
    this.flow();
    this.watch();
  }

  // Signs of layers that differ, also on the blocks that hold them.
  mark() {
    const names = { "-": "minus", "+": "plus", "~": "both" };
    const signs = this.data.boxes.map(layers => layers.map(index => this.data.layers[index].sign).filter(Boolean));
    const put = (element, found, text) => {
      if (!found.length) return;
      element.classList.add(found.every(sign => sign === found[0]) ? names[found[0]] : "both");
      element.setAttribute("aria-label", `${element.getAttribute("aria-label")} ${text}`);
      element.append(" ", draw("text", { class: "badge", x: 4, y: -7 }, text));
    };
    this.boxes.forEach((box, index) => put(box, signs[index], signs[index].includes("~") ? "differs" : "only here"));
    this.data.blocks.forEach((block, index) => {
      const inside = signs.slice(block.start, block.end).flat();
      put(this.closedBoxes[index], inside, `${inside.length} differ`);
    });
  }

  hidden(block) { return this.holders[block].some(holder => this.closed[holder]); }

  // Places everything anew: rows are as high as what is seen in them.
  flow() {
    const { places, blocks, boxes, lines } = this.data;
    const cover = boxes.map(() => -1);
    blocks.forEach((block, index) => {
      if (!this.closed[index]) return;
      for (let box = block.start; box < block.end; box++) if (cover[box] < 0) cover[box] = index;
    });
    const seen = boxes.map((_, box) => ({ x: places[box][0], row: places[box][1], width: places[box][2], height: places[box][3] }));
    const closed = blocks.map((block, index) => {
      const inner = seen.slice(block.start, block.end);
      const left = Math.min(...inner.map(box => box.x - box.width / 2)), right = Math.max(...inner.map(box => box.x + box.width / 2));
      return { x: (left + right) / 2, row: Math.min(...inner.map(box => box.row)), width: block.size[0], height: block.size[1] };
    });
    this.shown = [];
    const add = (place, element, kind, index) => {
      Object.assign(place, { element, kind, index });
      this.shown.push(place);
    };
    seen.forEach((place, box) => cover[box] < 0 && add(place, this.boxes[box], "box", box));
    closed.forEach((place, index) => this.closed[index] && !this.hidden(index) && add(place, this.closedBoxes[index], "block", index));
    const heights = new Map(), middles = [];
    for (const place of this.shown) heights.set(place.row, Math.max(heights.get(place.row) ?? 0, place.height));
    let y = 0;
    for (let row = 0; row <= places.reduce((most, place) => Math.max(most, place[1]), 0); row++) {
      const height = heights.get(row) ?? 0;
      middles.push(y + height / 2);
      if (height) y += height + GAP;
    }
    for (const element of [...this.boxes, ...this.closedBoxes]) element.setAttribute("visibility", "hidden");
    for (const place of this.shown) {
      place.y = middles[place.row];
      place.element.removeAttribute("visibility");
      place.element.setAttribute("transform", `translate(${place.x - place.width / 2},${place.y - place.height / 2})`);
    }
    this.shown.sort((a, b) => a.y - b.y || a.x - b.x);
    const drawn = new Set();
    lines.forEach((line, index) => {
      const [from, to] = [line[0], line.at(-1)].map(box => cover[box] < 0 ? seen[box] : closed[cover[box]]);
      const key = `${from.kind} ${from.index} ${to.kind} ${to.index}`;
      this.lines[index].toggleAttribute("hidden", from === to || drawn.has(key));
      drawn.add(key);
      const bends = line.slice(1, -1).filter(bend => heights.has(places[bend][1]) && places[bend][1] > from.row && places[bend][1] < to.row);
      const points = [[from.x, from.y + from.height / 2], ...bends.map(bend => [places[bend][0], middles[places[bend][1]]]), [to.x, to.y - to.height / 2]];
      const path = points.slice(1).map(([x1, y1], at) => {
        const [x0, y0] = points[at], middle = (y0 + y1) / 2;
        return `C${x0},${middle} ${x1},${middle} ${x1},${y1}`;
      });
      this.lines[index].setAttribute("d", `M${points[0]}${path.join("")}`);
    });
    this.frames.forEach((frame, index) => {
      const open = !this.closed[index] && !this.hidden(index);
      frame.setAttribute("visibility", open ? "visible" : "hidden");
      if (!open) return;
      const inner = this.shown.filter(place => place.kind === "box"
        ? place.index >= blocks[index].start && place.index < blocks[index].end
        : this.holders[place.index].includes(index));
      const pad = 8 + 3 * (blocks.length - index > 1 ? 1 : 0);
      const left = Math.min(...inner.map(place => place.x - place.width / 2)) - pad, top = Math.min(...inner.map(place => place.y - place.height / 2)) - pad;
      const right = Math.max(...inner.map(place => place.x + place.width / 2)) + pad, bottom = Math.max(...inner.map(place => place.y + place.height / 2)) + pad;
      frame.setAttribute("transform", `translate(${left},${top})`);
      const area = frame.querySelector(".area");
      area.setAttribute("width", right - left);
      area.setAttribute("height", bottom - top);
    });
    this.left = Math.min(...this.shown.map(place => place.x - place.width / 2));
    this.right = Math.max(...this.shown.map(place => place.x + place.width / 2));
    this.bottom = y - GAP;
    const first = this.shown[0]?.element;
    for (const place of this.shown) place.element.setAttribute("tabindex", place.element === first ? 0 : -1);
    this.frames.forEach((frame, index) => frame.setAttribute("tabindex", !this.closed[index] && !this.hidden(index) ? 0 : -1));
  }

  // Opens or closes a block; what stands still on the stage is where it was clicked.
  toggle(block, closed) {
    const before = this.where(block);
    this.closed[block] = closed;
    this.flow();
    const after = this.where(block);
    if (before !== null && after !== null) this.y += this.zoom * (before - after);
    this.move();
  }

  // The upper edge of a block, closed or open.
  where(block) {
    const { start, end } = this.data.blocks[block];
    const inside = this.shown.filter(place => place.kind === "block" ? place.index === block || this.holders[place.index].includes(block)
      : place.index >= start && place.index < end);
    return inside.length ? Math.min(...inside.map(place => place.y - place.height / 2)) : null;
  }

  toggleAll(closed) {
    this.closed.fill(closed);
    this.flow();
    this.start();
  }

  move() { this.view.setAttribute("transform", `translate(${this.x},${this.y}) scale(${this.zoom})`); }

  // The stage's size; one of another width than before shows the same in its middle.
  size() {
    const { width, height } = this.stage.getBoundingClientRect();
    this.x += (width - (this.width ?? width)) / 2;
    this.width = width;
    this.move();
    return { width, height };
  }

  // As wide as the stage, if that can be read, from the top on.
  start() {
    const { width } = this.size();
    this.zoom = Math.min(1.3, Math.max(0.5, (width - 40) / (this.right - this.left)));
    this.x = width / 2 - this.zoom * (this.left + this.right) / 2;
    this.y = 30;
    this.move();
  }

  fit() {
    const { width, height } = this.size();
    this.zoom = Math.min(1.3, (width - 40) / (this.right - this.left), (height - 40) / this.bottom);
    this.x = width / 2 - this.zoom * (this.left + this.right) / 2;
    this.y = (height - this.zoom * this.bottom) / 2;
    this.move();
  }

  zoomAt(factor, x, y) {
    const zoom = Math.min(4, Math.max(0.02, this.zoom * factor));
    this.x = x - (x - this.x) * zoom / this.zoom;
    this.y = y - (y - this.y) * zoom / this.zoom;
    this.zoom = zoom;
    this.move();
  }

  zoomBy(factor) {
    const { width, height } = this.size();
    this.zoomAt(factor, width / 2, height / 2);
  }

  // Brings a box into the middle, opening what it is in.
  centre(box) {
    this.data.blocks.forEach((block, index) => { if (block.start <= box && box < block.end) this.closed[index] = false; });
    this.flow();
    const place = this.shown.find(each => each.kind === "box" && each.index === box);
    const { width, height } = this.size();
    this.zoom = Math.max(0.8, this.zoom);
    this.x = width / 2 - this.zoom * place.x;
    this.y = height / 2 - this.zoom * place.y;
    this.move();
  }

  choose(box) {
    this.boxes.forEach((each, index) => each.classList.toggle("chosen", index === box));
  }

  // Keeps a focused box on the stage.
  reveal(place) {
    const { width, height } = this.size();
    const x = this.x + this.zoom * place.x, y = this.y + this.zoom * place.y;
    if (x < 40 || x > width - 40) this.x += width / 2 - x;
    if (y < 40 || y > height - 40) this.y += height / 2 - y;
    this.move();
  }

  // Pointers move and pinch; the wheel moves, with Ctrl it zooms.
  watch() {
    const at = event => {
      const box = this.stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.stage.addEventListener("pointerdown", event => {
      if (!this.pointers.size) this.dragged = false;
      this.pointers.set(event.pointerId, at(event));
    });
    window.addEventListener("pointermove", event => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      if (!this.dragged && this.pointers.size === 1 && Math.hypot(now[0] - before[0], now[1] - before[1]) < NEAR) return;
      this.dragged = true;
      if (this.pointers.size === 2) {
        const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const apart = place => Math.hypot(place[0] - other[0], place[1] - other[1]);
        this.zoomAt(apart(now) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else {
        this.x += now[0] - before[0];
        this.y += now[1] - before[1];
        this.move();
      }
      this.pointers.set(event.pointerId, now);
    });
    new ResizeObserver(() => this.size()).observe(this.stage);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, event => this.pointers.delete(event.pointerId));
    this.stage.addEventListener("wheel", event => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) this.zoomAt(Math.exp(-event.deltaY / 200), ...at(event));
      else { this.x -= event.deltaX; this.y -= event.deltaY; this.move(); }
    }, { passive: false });
  }
}

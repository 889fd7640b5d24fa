// The photo on the canvas: zoom, overlay, strokes. Points are pixels of the photo; whole numbers are centres.

export const TAKES_AWAY = 255;
const LARGEST = 64; // screen pixels a pixel of the photo

export class View {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.ink = document.createElement("canvas");
    this.photo = this.overlay = null;
    this.smooth = false;
    this.size = [1, 1];
    this.scale = 1;
    this.x = this.y = 0;
    this.strokes = [];
    this.current = null;
    this.hidden = false;
    this.fits = true;
    new ResizeObserver(() => (this.fits ? this.fit() : this.draw())).observe(canvas);
  }

  show(photo, size) {
    this.photo = photo;
    this.size = size;
    this.overlay = null;
    this.fit();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.scale = Math.min((width - 24) / this.size[0], (height - 24) / this.size[1], LARGEST);
    this.x = (width - this.size[0] * this.scale) / 2;
    this.y = (height - this.size[1] * this.scale) / 2;
    this.fits = true;
    this.draw();
  }

  /** Zooms by a factor; the photo's point below (x, y) of the canvas stays there. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const least = 32 / Math.max(...this.size);
    const scale = Math.min(Math.max(this.scale * factor, least), LARGEST);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fits = false;
    this.draw();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fits = false;
    this.draw();
  }

  /** Shows a place of the photo in the middle, about a quarter of the photo around it. */
  goTo(x, y) {
    this.fit();
    this.zoom(4);
    this.x = this.canvas.clientWidth / 2 - x * this.scale;
    this.y = this.canvas.clientHeight / 2 - y * this.scale;
    this.draw();
  }

  /** A place of the canvas as a point of the photo. */
  point(x, y) { return [(x - this.x) / this.scale - 0.5, (y - this.y) / this.scale - 0.5]; }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.#draw();
    });
  }

  #draw() {
    const ratio = devicePixelRatio;
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    for (const each of [this.canvas, this.ink]) {
      if (each.width !== width || each.height !== height) Object.assign(each, { width, height });
    }
    const context = this.canvas.getContext("2d");
    this.#place(context, ratio);
    if (this.photo) {
      context.imageSmoothingEnabled = this.scale * ratio < 2;
      context.drawImage(this.photo, 0, 0, ...this.size);
    }
    if (this.overlay) {
      context.imageSmoothingEnabled = this.smooth;
      context.globalAlpha = this.smooth ? 0.85 : 0.55;
      context.drawImage(this.overlay, 0, 0, ...this.size);
      context.globalAlpha = 1;
    }
    if (this.hidden) return;
    const ink = this.ink.getContext("2d");
    this.#place(ink, ratio);
    ink.beginPath();
    ink.rect(0, 0, ...this.size);
    ink.clip();
    ink.translate(0.5, 0.5);
    for (const stroke of this.strokes) this.#stroke(ink, stroke);
    if (this.current) this.#stroke(ink, this.current, true);
    ink.restore();
    context.restore();
    context.globalAlpha = 0.88;
    context.drawImage(this.ink, 0, 0);
    context.globalAlpha = 1;
  }

  #place(context, ratio) {
    context.reset();
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.save();
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
  }

  #stroke(ink, stroke, unfinished = false) {
    const taken = stroke.cls === TAKES_AWAY;
    const [x, y] = [stroke.x, stroke.y].map(values => (Array.isArray(values) ? values : [values]));
    ink.globalCompositeOperation = taken && !unfinished ? "destination-out" : "source-over";
    const colour = taken ? (unfinished ? "#ffffffb0" : "#000") : this.colours[stroke.cls];
    const line = new Path2D();
    x.forEach((value, index) => (index ? line.lineTo(value, y[index]) : line.moveTo(value, y[index])));
    ink.fillStyle = ink.strokeStyle = colour;
    if (stroke.filled) {
      line.closePath();
      ink.globalAlpha = taken ? 1 : 0.6;
      ink.fill(line);
      ink.globalAlpha = 1;
      ink.lineWidth = 2 / this.scale;
      if (!taken) ink.stroke(line);
      return;
    }
    if (x.length === 1) line.lineTo(x[0] + 1e-3, y[0]);
    ink.lineCap = ink.lineJoin = "round";
    const width = stroke.width ?? 1;
    if (!taken) {
      ink.strokeStyle = "#fff";
      ink.lineWidth = Math.max(width, 1 / this.scale) + 2 / this.scale;
      ink.stroke(line);
    }
    ink.strokeStyle = colour;
    ink.lineWidth = x.length === 1 ? Math.max(width, 7 / this.scale) : Math.max(width, 1 / this.scale);
    ink.stroke(line);
  }
}

// The strokes of one photo, with their history; and saving them until the server has them.

export class Strokes {
  constructor(name, saved) {
    this.name = name;
    this.past = [];
    this.future = [];
    this.take(saved);
  }

  /** What is on disk replaces what is here. */
  take(saved) {
    this.strokes = this.base = saved.strokes;
    this.know(saved);
  }

  know(saved) {
    this.revision = saved.revision;
    this.pixels = saved.pixels;
    this.size = [saved.width, saved.height];
  }

  get unsaved() { return this.strokes !== this.base; }
  get canUndo() { return this.past.length > 0 || this.strokes.length > 0; }
  get canRedo() { return this.future.length > 0; }

  add(stroke) { this.set([...this.strokes, stroke]); }

  set(strokes) {
    this.past.push(this.strokes);
    this.future = [];
    this.strokes = strokes;
  }

  undo() {
    if (!this.canUndo) return;
    this.future.push(this.strokes);
    // Strokes from before this page was opened go one by one.
    this.strokes = this.past.length ? this.past.pop() : this.strokes.slice(0, -1);
  }

  redo() {
    if (!this.canRedo) return;
    this.past.push(this.strokes);
    this.strokes = this.future.pop();
  }

  /** Another window has changed the photo: new strokes go on top of its own; other changes give way.
   * Says whether ours were kept. */
  merge(saved) {
    const added = this.base.every((stroke, index) => this.strokes[index] === stroke)
      ? this.strokes.slice(this.base.length)
      : null;
    this.past = [];
    this.future = [];
    this.take(saved);
    if (added === null) return false;
    this.strokes = [...this.base, ...added];
    return true;
  }
}

const AGAIN = 2000; // milliseconds

/** Saves changed strokes, one request at a time for each photo, until they are on disk. */
export class Saver {
  constructor(tell) {
    this.tell = tell; // (kind, strokes, text): "saving", "saved", "waits", "merged", "replaced", "refused"
    this.busy = new Map();
  }

  get waiting() { return this.busy.size; }

  save(strokes) {
    if (strokes.unsaved && !this.busy.has(strokes.name)) {
      this.busy.set(strokes.name, strokes);
      this.#untilSaved(strokes).finally(() => this.busy.delete(strokes.name));
    }
  }

  async #untilSaved(strokes) {
    while (strokes.unsaved) {
      this.tell("saving", strokes);
      const sent = strokes.strokes;
      let answer;
      try {
        answer = await fetch(`strokes/${encodeURIComponent(strokes.name)}`, {
          method: "PUT",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ revision: strokes.revision, strokes: sent }),
        });
        if (answer.status === 403) throw new Error("another server");
      } catch {
        this.tell("waits", strokes);
        await new Promise(done => setTimeout(done, AGAIN));
        continue;
      }
      const content = await answer.json();
      if (answer.ok) {
        strokes.base = sent;
        strokes.know(content);
      } else if (answer.status === 409) {
        this.tell(strokes.merge(content) ? "merged" : "replaced", strokes);
      } else {
        this.tell("refused", strokes, content.error);
        return;
      }
    }
    this.busy.delete(strokes.name);
    this.tell("saved", strokes);
  }
}

// The photos at the side: thumbnails when they are scrolled to, search, filter and order.

const element = id => document.getElementById(id);

export class List {
  constructor(names, choose) {
    this.names = names;
    this.shares = {};
    this.doubts = {};
    this.shown = names;
    this.current = "";
    this.items = new Map(names.map(name => [name, this.#item(name, choose)]));
    element("search").addEventListener("input", () => this.arrange());
    for (const id of ["filter", "order"]) element(id).addEventListener("change", () => this.arrange());
    this.arrange();
  }

  /** The first photo without strokes, in the order shown. */
  first() { return this.shown.find(name => !this.shares[name]) ?? this.shown[0] ?? this.names[0]; }

  /** The photo `step` places from the current one, or undefined at the end. */
  beside(step) {
    const here = this.shown.indexOf(this.current);
    return here < 0 ? this.shown[0] : this.shown[here + step];
  }

  mark(name) {
    this.items.get(this.current)?.button.removeAttribute("aria-current");
    this.current = name;
    const { button } = this.items.get(name);
    button.setAttribute("aria-current", "true");
    button.scrollIntoView({ block: "nearest" });
  }

  /** New figures: labelled share by photo, and doubt by photo. */
  tell(shares, doubts) {
    const known = Object.keys(this.doubts).length;
    this.shares = shares;
    this.doubts = doubts;
    for (const name of this.names) this.#figure(name);
    if (element("order").value === "doubt" && Object.keys(doubts).length !== known) this.arrange();
    this.#count();
  }

  tellOne(name, share) {
    if (share) this.shares[name] = share;
    else delete this.shares[name];
    this.#figure(name);
    this.#count();
  }

  /** Sorts and filters; the current photo stays even if the filter would leave it out. */
  arrange() {
    const words = element("search").value.trim().toLowerCase();
    const filter = element("filter").value;
    const fits = name => name.toLowerCase().includes(words) &&
      (filter === "all" || name === this.current || (filter === "with") === Boolean(this.shares[name]));
    this.shown = this.names.filter(fits);
    if (element("order").value === "doubt") {
      this.shown.sort((a, b) => (this.doubts[b] ?? -1) - (this.doubts[a] ?? -1));
    }
    element("list").replaceChildren(...this.shown.map(name => this.items.get(name).item));
    this.#count();
  }

  #figure(name) {
    const share = this.shares[name];
    this.items.get(name).share.textContent = share ? `${(100 * share).toFixed(share < 0.1 ? 2 : 0)} %` : "";
  }

  #count() {
    const drawn = Object.keys(this.shares).length;
    const some = this.shown.length < this.names.length ? ` · ${this.shown.length} shown` : "";
    const seen = Object.keys(this.doubts).length;
    const looked = seen && seen < this.names.length ? ` · model has seen ${seen}` : "";
    element("progress").textContent = `${drawn} of ${this.names.length} with strokes${some}${looked}`;
  }

  #item(name, choose) {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    const picture = button.appendChild(new Image());
    const caption = button.appendChild(document.createElement("span"));
    const [title, share] = [0, 0].map(() => caption.appendChild(document.createElement("span")));
    Object.assign(button, { type: "button", title: name });
    Object.assign(picture, { loading: "lazy", alt: "", src: `thumbnail/${encodeURIComponent(name)}` });
    caption.className = "caption";
    title.textContent = name;
    button.addEventListener("click", () => choose(name));
    return { item, button, share };
  }
}

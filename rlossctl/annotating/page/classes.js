// The classes at the side: which one is drawn, and how much of it there is.

export class Classes {
  constructor(place, classes) {
    this.place = place;
    this.rows = classes.map(({ name, colour }, index) => {
      const row = place.appendChild(document.createElement("label"));
      const [text, here, all] = [0, 0, 0].map(() => document.createElement("span"));
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "class", value: index });
      const swatch = text.appendChild(document.createElement("span"));
      swatch.className = "swatch";
      swatch.style.background = `rgb(${colour.join(",")})`;
      const title = text.appendChild(document.createElement("span"));
      title.className = "text";
      title.textContent = name;
      if (index < 10) text.appendChild(document.createElement("kbd")).textContent = (index + 1) % 10;
      text.className = "class-name";
      here.className = "figure";
      all.className = "figure all";
      row.title = name;
      row.append(input, text, here, all);
      return { input, here, all, row };
    });
    this.choose(0);
  }

  get chosen() { return this.rows.findIndex(({ input }) => input.checked); }

  choose(index) {
    const row = this.rows[(index + this.rows.length) % this.rows.length];
    row.input.checked = true;
    row.row.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Labelled pixels of the photo by class, of `area` pixels in all. */
  tellPhoto(pixels, area) {
    this.rows.forEach(({ here }, index) => (here.textContent = percent(pixels[index] / area, 2)));
  }

  /** Labelled pixels of all photos by class. */
  tellAll(pixels) {
    const total = pixels.reduce((sum, count) => sum + count, 0);
    this.rows.forEach(({ all }, index) => (all.textContent = total ? percent(pixels[index] / total, 0) : ""));
  }
}

function percent(share, digits) {
  if (!share) return "–";
  const least = 10 ** -digits;
  return 100 * share < least ? `<${least} %` : `${(100 * share).toFixed(digits)} %`;
}

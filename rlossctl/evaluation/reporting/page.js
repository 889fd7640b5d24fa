// Images can be filtered, sorted and searched, shown small, and compared one over the other.
for (const table of document.querySelectorAll("table.heat")) {
  const readout = table.closest("section").querySelector(".readout");
  const point = event => {
    const cell = event.target.closest("td[title]");
    if (!cell) return;
    table.querySelector(".pointed")?.classList.remove("pointed");
    cell.classList.add("pointed");
    readout.textContent = cell.title;
  };
  table.addEventListener("pointerover", point);
  table.addEventListener("click", point);
  table.closest(".wide").addEventListener("keydown", event => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!moves[event.key]) return;
    event.preventDefault();
    const now = table.querySelector(".pointed");
    const [down, right] = moves[event.key];
    const row = now ? table.tBodies[0].rows[now.parentElement.sectionRowIndex + down] : table.tBodies[0].rows[0];
    const cell = row?.cells[now ? now.cellIndex + right : 1];
    if (cell) point({ target: cell });
  });
}

const list = document.getElementById("examples");
if (list) {
  const element = id => document.getElementById(id);
  const articles = [...list.children];
  const score = (article, model) => Number(article.dataset.scores.split(" ")[model]);
  const arrange = () => {
    const [direction, model] = element("order").value.split(" ");
    const sign = direction === "best" ? -1 : 1;
    const sorted = direction === "list"
      ? [...articles].sort((a, b) => a.dataset.index - b.dataset.index)
      : [...articles].sort((a, b) => sign * (score(a, model) - score(b, model)));
    list.append(...sorted);
    const wanted = element("class").value;
    const words = element("search").value.trim().toLowerCase();
    let count = 0;
    for (const article of articles) {
      article.hidden = !article.dataset.name.toLowerCase().includes(words) ||
        (wanted !== "" && !article.dataset.classes.split(" ").includes(wanted));
      count += !article.hidden;
    }
    element("shown").textContent = `${count} of ${articles.length} images`;
  };
  const shape = () => {
    const key = element("shape").value;
    list.classList.toggle("small", key !== "rows");
    for (const figure of list.querySelectorAll("figure")) figure.classList.toggle("chosen", figure.dataset.key === key);
  };
  element("controls").hidden = false;
  for (const id of ["class", "order"]) element(id).addEventListener("change", arrange);
  element("search").addEventListener("input", arrange);
  element("shape").addEventListener("change", shape);
  arrange();

  // One image, large: two of its pictures with a border that can be drawn.
  const viewer = element("viewer");
  let current = null;
  const layer = key => current.querySelector(`figure[data-key="${key}"]`);
  const show = () => {
    element("viewer-title").textContent = current.querySelector("h3").textContent;
    for (const name of ["--photo", "--shape"]) viewer.style.setProperty(name, current.style.getPropertyValue(name));
    const [width, height] = current.style.getPropertyValue("--shape").split("/");
    viewer.style.setProperty("--ratio", width / height);
    viewer.style.setProperty("--zoom", element("viewer-zoom").value);
    viewer.style.setProperty("--border", `${element("viewer-border").value}%`);
    for (const [side, picture] of [["left", "viewer-a"], ["right", "viewer-b"]]) {
      const figure = layer(element(`viewer-${side}`).value);
      const source = figure.querySelector("img");
      element(picture).hidden = !source;
      if (source) [element(picture).src, element(picture).alt] = [source.src, source.alt];
    }
  };
  const step = by => {
    const shown = [...list.children].filter(article => !article.hidden);
    current = shown[(shown.indexOf(current) + by + shown.length) % shown.length];
    show();
  };
  const border = event => {
    const box = element("viewer-inner").getBoundingClientRect();
    element("viewer-border").value = (100 * (event.clientX - box.left)) / box.width;
    show();
  };
  for (const figure of list.querySelectorAll("figure")) {
    const open = () => {
      current = figure.closest("article");
      element("viewer-left").value = figure.dataset.key === "truth" ? "photo" : "truth";
      element("viewer-right").value = figure.dataset.key === "photo" ? "prediction 0" : figure.dataset.key;
      show();
      viewer.showModal();
    };
    const picture = figure.querySelector(".picture");
    picture.tabIndex = 0;
    picture.addEventListener("click", open);
    picture.addEventListener("keydown", event => event.key === "Enter" && open());
  }
  for (const id of ["viewer-left", "viewer-right"]) element(id).addEventListener("change", show);
  for (const id of ["viewer-border", "viewer-zoom"]) element(id).addEventListener("input", show);
  element("viewer-previous").addEventListener("click", () => step(-1));
  element("viewer-next").addEventListener("click", () => step(1));
  element("viewer-close").addEventListener("click", () => viewer.close());
  element("viewer-stage").addEventListener("pointerdown", border);
  element("viewer-stage").addEventListener("pointermove", event => event.buttons === 1 && border(event));
  viewer.addEventListener("keydown", event => {
    if (event.target.matches("select, input")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

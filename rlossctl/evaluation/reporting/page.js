"use strict";
// The page shows everything without this script; with it, images can be filtered and sorted.
const root = document.documentElement;
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

const list = document.getElementById("examples");
if (list) {
  const controls = document.getElementById("controls");
  const byClass = document.getElementById("class");
  const order = document.getElementById("order");
  const shown = document.getElementById("shown");
  const articles = [...list.children];
  const score = (article, model) => Number(article.dataset.scores.split(" ")[model]);
  const arrange = () => {
    const [direction, model] = order.value.split(" ");
    const sign = direction === "best" ? -1 : 1;
    const sorted = direction === "list"
      ? [...articles].sort((a, b) => a.dataset.index - b.dataset.index)
      : [...articles].sort((a, b) => sign * (score(a, model) - score(b, model)));
    list.append(...sorted);
    let count = 0;
    for (const article of articles) {
      article.hidden = byClass.value !== "" && !article.dataset.classes.split(" ").includes(byClass.value);
      count += !article.hidden;
    }
    shown.textContent = `${count} of ${articles.length} images`;
  };
  controls.hidden = false;
  byClass.addEventListener("change", arrange);
  order.addEventListener("change", arrange);
  arrange();
}

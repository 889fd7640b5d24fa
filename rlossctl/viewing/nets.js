// The drawings, the search, and the details of what is chosen.
const id = name => document.getElementById(name);
const data = JSON.parse(id("data").textContent);
const nets = document.querySelector(".nets");
nets.classList.add("live");
for (const name of ["controls", "keys"]) id(name).hidden = false;
const drawings = [...document.querySelectorAll(".stage")].map((stage, index) => new Drawing(stage, data[index]));
const boxOf = drawings.map(({ data }) => {
  const found = new Map();
  data.boxes.forEach((layers, box) => layers.forEach(layer => found.set(data.layers[layer].name, box)));
  return found;
});

// Shows the layers of a box; of two nets, also those of the same names in the other.
const show = (names, title) => {
  const sides = drawings.map(({ data }, index) => {
    const layers = data.layers.filter(layer => names.includes(layer.name));
    const heading = drawings.length > 1 ? [make("p", { class: "kind" }, `${index ? "right" : "left"}: ${data.title}`)] : [];
    return make("div", {}, ...heading, ...(layers.length ? layers.map(card) : [make("p", {}, "not in this net")]));
  });
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => choose(null));
  id("details").replaceChildren(make("div", { class: "head" }, make("h2", {}, title), close), make("div", { class: "sides" }, ...sides));
  id("details").scrollTop = 0;
};

const choose = names => {
  id("details").hidden = names === null;
  drawings.forEach((drawing, index) => {
    const box = names?.map(name => boxOf[index].get(name)).find(found => found !== undefined);
    drawing.choose(box ?? -1);
  });
  if (names) show(names, names.length > 1 ? `${names[0]} and ${names.length - 1} in place` : names[0]);
};

// Chooses a layer by name and brings it into the middle of every drawing that has it.
const goTo = name => {
  const index = boxOf.findIndex(found => found.has(name));
  if (index < 0) return;
  choose(namesIn(index, boxOf[index].get(name)));
  drawings.forEach((drawing, at) => boxOf[at].has(name) && drawing.centre(boxOf[at].get(name)));
};
const namesIn = (index, box) => data[index].boxes[box].map(layer => data[index].layers[layer].name);

drawings.forEach((drawing, index) => {
  const act = element => {
    const { box, block } = element.dataset;
    if (block !== undefined) {
      drawing.toggle(Number(block), false);
      drawing.boxes[data[index].blocks[block].start]?.focus({ preventScroll: true });
    } else if (box !== undefined) {
      const names = namesIn(index, Number(box));
      if (!names.length) return;
      choose(names);
      drawings.forEach((other, at) => at !== index && boxOf[at].has(names[0]) && other.centre(boxOf[at].get(names[0])));
    } else {
      const at = drawing.frames.indexOf(element);
      drawing.toggle(at, true);
      drawing.closedBoxes[at].focus({ preventScroll: true });
    }
  };
  drawing.stage.addEventListener("click", event => {
    const element = event.target.closest(".box, .frame");
    if (element && !drawing.dragged) act(element);
  });
  drawing.stage.addEventListener("focusin", event => {
    const place = drawing.shown.find(({ element }) => element === event.target);
    if (place && event.target.matches(":focus-visible")) drawing.reveal(place);
  });
  drawing.stage.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const element = document.activeElement;
    const at = drawing.shown.findIndex(place => place.element === element);
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    if (event.key in steps && at >= 0) drawing.shown[at + steps[event.key]]?.element.focus({ preventScroll: true });
    else if (event.key === "Enter" || event.key === " ") act(element);
    else if (event.key === "+" || event.key === "=") drawing.zoomBy(1.25);
    else if (event.key === "-") drawing.zoomBy(0.8);
    else if (event.key === "0") drawing.fit();
    else return;
    event.preventDefault();
  });
  drawing.start();
});

for (const [name, act] of Object.entries({
  open: drawing => drawing.toggleAll(false),
  close: drawing => drawing.toggleAll(true),
  in: drawing => drawing.zoomBy(1.25),
  out: drawing => drawing.zoomBy(0.8),
  fit: drawing => drawing.fit(),
})) id(name).addEventListener("click", () => drawings.forEach(act));
const blocks = data.some(net => net.blocks.length);
id("open").hidden = id("close").hidden = !blocks;

let hits = [], at = -1;
const search = () => {
  const words = id("search").value.trim().toLowerCase();
  const names = [...new Set(data.flatMap(net => net.layers.map(layer => `${layer.name}\n${layer.type}`)))];
  hits = words ? names.filter(name => name.toLowerCase().includes(words)).map(name => name.split("\n")[0]) : [];
  at = -1;
  id("found").textContent = words ? `${hits.length} of ${names.length} layers` : "";
  const found = new Set(hits);
  drawings.forEach(({ data, boxes, closedBoxes }) => {
    const hit = data.boxes.map(layers => layers.some(layer => found.has(data.layers[layer].name)));
    boxes.forEach((box, index) => box.classList.toggle("hit", hit[index]));
    data.blocks.forEach((block, index) => closedBoxes[index].classList.toggle("hit", hit.slice(block.start, block.end).includes(true)));
  });
};
id("search").addEventListener("input", search);
id("search").addEventListener("keydown", event => {
  if (event.key !== "Enter" || !hits.length) return;
  at = (at + (event.shiftKey ? -1 : 1) + hits.length) % hits.length;
  goTo(hits[at]);
  id("found").textContent = `${at + 1} of ${hits.length}: ${hits[at]}`;
});
document.addEventListener("keydown", event => {
  if (event.key === "/" && !event.target.matches("input")) {
    event.preventDefault();
    id("search").focus();
  }
  if (event.key === "Escape" && !event.target.matches("input")) choose(null);
});

// Names of layers below the drawings lead to them.
const link = (element, name) => {
  if (!boxOf.some(found => found.has(name))) return;
  const button = make("button", { type: "button" }, ...element.childNodes);
  button.addEventListener("click", () => {
    goTo(name);
    nets.scrollIntoView({ block: "start" });
  });
  element.append(button);
};
for (const head of document.querySelectorAll(".layers tbody th")) link(head, head.textContent.trim());
for (const item of document.querySelectorAll(".changes li")) link(item.querySelector(".what"), item.dataset.layer);

// What is known of a layer, as elements.
const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const number = value => value === 0 ? "0" : Math.abs(value) < 0.001 || Math.abs(value) >= 1e5 ? value.toExponential(2) : String(+value.toPrecision(4));

const histogram = (blob, index) => {
  const words = [`blob ${index}, ${blob.shape}`];
  if (blob.bars.length) words.push(`mean ${number(blob.mean)}`, `deviation ${number(blob.std)}`);
  if (blob.zeros) words.push(`${number(100 * blob.zeros)} % zeros`);
  if (blob.broken) words.push(`${blob.broken} not finite`);
  const figure = make("figure", { class: "bars-of" }, make("figcaption", {}, words.join(", ")));
  if (!blob.bars.length) return figure;
  const most = Math.max(...blob.bars);
  const bars = blob.bars.map((height, bar) => draw("rect", { x: bar + 0.06, y: most - height, width: 0.88, height }));
  const label = `Histogram of blob ${index}, from ${number(blob.low)} to ${number(blob.high)}`;
  figure.append(draw("svg", { viewBox: `0 0 ${blob.bars.length} ${most}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars),
    make("div", { class: "ends" }, make("span", {}, number(blob.low)), make("span", {}, number(blob.high))));
  return figure;
};

const card = layer => {
  const blobs = list => list.map(([name, shape]) => shape ? `${name} (${shape})` : name).join(", ") || "-";
  const facts = { bottoms: blobs(layer.bottoms), tops: blobs(layer.tops), ...layer.facts };
  const list = make("dl", { class: "way" });
  for (const [name, text] of Object.entries(facts)) list.append(make("dt", {}, name), make("dd", {}, text));
  const sign = { "-": ["minus", "only left"], "+": ["plus", "only right"], "~": ["both", "differs"] }[layer.sign];
  const changes = layer.changes.map(text => make("li", {}, text));
  return make("div", {}, make("h3", {}, layer.name), make("p", { class: "kind" }, layer.type),
    ...(sign ? [make("p", { class: `sign sign${sign[0]}` }, sign[1])] : []),
    ...(changes.length ? [make("ul", {}, ...changes)] : []),
    list, make("pre", {}, layer.text), ...layer.blobs.map(histogram));
};

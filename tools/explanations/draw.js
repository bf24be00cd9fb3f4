// The drawings: the net with its layers and the lines between them, and where a layer lies in the image.

const ROW = 34; // pixels from one layer to the next

function drawn(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const KINDS = ["image", "convolution", "pooling", "deconvolution", "crop", "join"];
const colour = (node) => `var(--${KINDS.includes(node.kind) ? node.kind : "same"})`;

/** A box for each layer, as wide as the logarithm of its rows, and lines from the layers that it takes. */
function draw() {
  const small = at("net").clientWidth < 600, wide = small ? 64 : 150, { edges, lanes } = edgesOf();
  const step = Math.min(small ? 7 : 12, (small ? 36 : 120) / Math.max(lanes, 1));
  const left = 6 + lanes * step, middle = left + wide / 2, y = (i) => i * ROW + ROW / 2;
  const logs = nodes.map((_, i) => Math.log2(1 + ((isFit(i) && result.axes[0].sizes[i]) || 0)));
  const widths = logs.map((log) => Math.max(10, (wide * log) / Math.max(...logs, 1)));
  const lines = edges.map(({ from, to, lane, dashed }) => {
    const x = left - 4 - (lane ?? 0) * step, [start, end] = [from, to].map((i) => middle - widths[i] / 2);
    const d = lane === undefined ? `M${middle} ${y(from)}V${y(to)}`
      : `M${start} ${y(from) + 4}H${x}V${y(to) - 4}H${end}`;
    const dashes = dashed ? { "stroke-dasharray": "3 3" } : {};
    return drawn("path", { d, fill: "none", stroke: "var(--quiet)", "stroke-linejoin": "round", ...dashes });
  });
  const boxes = nodes.map((node, i) => drawn("rect", {
    x: middle - widths[i] / 2, width: widths[i], rx: 3, fill: colour(node),
    ...(node.kind === "same" ? { y: y(i) - 4, height: 8 } : { y: y(i) - 10, height: 20 }),
    ...(isRefused(i) ? { stroke: "var(--bad)", "stroke-width": 3 } : {}),
  }));
  const svg = at("net").querySelector("svg");
  svg.setAttribute("width", left + wide);
  svg.setAttribute("height", nodes.length * ROW);
  svg.replaceChildren(...lines, ...boxes);
  at("net").style.setProperty("--drawing", `${left + wide + 10}px`);
}

/** Lines between layers; those that pass others have lanes on the left, in which they do not meet. */
function edgesOf() {
  const edges = [], lanes = [];
  nodes.forEach((node, to) => {
    for (const from of new Set(node.from)) edges.push({ from, to, dashed: false });
    for (const from of new Set([node.like ?? []].flat())) edges.push({ from, to, dashed: true });
  });
  const far = edges.filter(({ from, to }) => to - from > 1).sort((a, b) => a.to - a.from - (b.to - b.from));
  for (const edge of far) {
    edge.lane = lanes.findIndex((lane) => lane.every(({ from, to }) => edge.to < from || to < edge.from));
    if (edge.lane < 0) edge.lane = lanes.push([]) - 1;
    lanes[edge.lane].push(edge);
  }
  return { edges, lanes: lanes.length };
}

/** Where the layer lies: the image, the layer's cells, its middle cell, and what that sees. */
function place(i) {
  const maps = axesOf((axis) => axis.maps[i]), sizes = axesOf((axis) => axis.sizes[i]);
  if (!isFit(i) || maps.includes(null) || sizes.includes(null)) return [];
  const edge = (axis, x) => toNumber(plus(times(maps[axis].stride, whole(x)), maps[axis].offset));
  const from = (starts, ends) => [0, 1].map((axis) => [edge(axis, starts[axis]), edge(axis, ends[axis])]);
  const middle = sizes.map((each) => each >> 1), sees = axesOf((axis, k) => axis.sees(i, middle[k]));
  const boxes = [
    { colour: "var(--image)", words: "the image", span: size.map((each) => [0, each]) },
    { colour: "var(--convolution)", words: "the layer", span: from([0, 0], sizes) },
    { colour: "var(--pooling)", words: "its middle cell", span: from(middle, middle.map((each) => each + 1)) },
  ];
  if (sees.every((each) => each && each[0] !== null))
    boxes.push({ colour: "var(--crop)", words: "what this cell sees", span: sees.map(([a, b]) => [a, b + 1]) });
  return [inTheImage(boxes)];
}

/** A figure of boxes in the image, each {colour, words, span: [rows, columns]}. */
function inTheImage(boxes) {
  const [y, x] = [0, 1].map((axis) => Math.min(...boxes.map(({ span }) => span[axis][0])));
  const [bottom, right] = [0, 1].map((axis) => Math.max(...boxes.map(({ span }) => span[axis][1])));
  const margin = 0.02 * Math.max(bottom - y, right - x);
  const viewBox = [x - margin, y - margin, right - x + 2 * margin, bottom - y + 2 * margin].join(" ");
  const svg = drawn("svg", { role: "img", "aria-label": "where the layer lies in the image", viewBox });
  svg.append(...boxes.map(({ colour, span: [rows, columns] }, k) => drawn("rect", {
    x: columns[0], y: rows[0], width: columns[1] - columns[0], height: rows[1] - rows[0],
    fill: k ? "none" : colour, "fill-opacity": 0.35, stroke: colour, "stroke-width": 2,
    "vector-effect": "non-scaling-stroke",
  })));
  const keys = boxes.map(({ colour, words }) =>
    element("span", {}, element("i", { class: "key", style: `color: ${colour}` }), `${words} `));
  return element("figure", {}, svg, element("figcaption", {}, ...keys));
}

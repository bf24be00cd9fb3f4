// The page: draws the net, shows the layer that is pointed at or chosen, and takes changes. net.js computes.

const GIVEN = JSON.parse(document.getElementById("data").textContent);
const ROW = 34, KEYS = ["kernel", "stride", "pad"], TIMES = " × ";
const at = (id) => document.getElementById(id);
let nodes, size, result, chosen, pointed = null;

/** An HTML element, or with a namespace an SVG element, of attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}
function drawn(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const colour = (node) =>
  `var(--${["image", "convolution", "pooling", "deconvolution", "crop", "join"].includes(node.kind) ? node.kind : "same"})`;
/** A number for both axes, or rows × columns where they differ. */
const both = (pair) => (`${pair[0]}` === `${pair[1]}` ? `${pair[0]}` : pair.join(TIMES));
const axesOf = (f) => result.axes.map(f);
const whyOf = (i) => [...new Set(axesOf((axis) => axis.refused.get(i)).filter(Boolean))];
const isChanged = (i) => KEYS.some((key) => nodes[i][key] && `${nodes[i][key]}` !== `${GIVEN.nodes[i][key]}`);
/** The first node that the image does not fit; from there on there are no sizes. */
const firstFault = () => Math.min(...axesOf((axis) => (axis.fault ? axis.fault.node : Infinity)));
const isFit = (i) => i < firstFault() && axesOf((axis) => axis.sizes[i]).every((each) => each === null || each > 0);
const shapeText = (i) => (result.shapes[i] && isFit(i) ? result.shapes[i].join(TIMES) : "–");

const typeOf = (node) => (node.op === "null" ? "Variable" : node.op);
/** Kernel/stride and pad. */
function windowText(node) {
  const stride = node.stride.some((each) => each > 1) ? `/${both(node.stride)}` : "";
  return `${node.kernel.join("×")}${stride}${node.pad.some(Boolean) ? ` pad ${both(node.pad)}` : ""}`;
}

function begin() {
  nodes = structuredClone(GIVEN.nodes);
  size = [...GIVEN.size];
  at("height").value = size[0];
  at("width").value = size[1];
  update();
}

function update() {
  result = computed(nodes, size);
  const total = result.parameters.reduce((sum, each) => (sum === null || each === null ? null : sum + each), 0);
  const count = nodes.filter((node) => node.from).length;
  at("summary").textContent =
    `${count} layers, ${total === null ? "an unknown number of" : total.toLocaleString("en")} parameters.`;
  at("undo").disabled = !nodes.some((_, i) => isChanged(i)) && `${size}` === `${GIVEN.size}`;
  showState();
  showRows();
  draw();
  showPanel();
}

/** What does not fit or cannot be aligned, else the offsets of the crops. */
function showState() {
  const wrong = nodes.flatMap((_, i) => whyOf(i));
  result.axes.forEach(({ fault }, axis) => {
    if (fault) wrong.push(`An image of ${size[axis]} ${["rows", "columns"][axis]} does not fit: ${fault.why}.`);
  });
  const crops = nodes.map((node, i) => [node, axesOf((axis) => axis.offsets[i])])
    .filter(([node, offsets]) => node.kind === "crop" && offsets.every((each) => each !== null));
  const fine = crops.map(([node, offsets]) => {
    const differs = at("undo").disabled && `${offsets}` !== `${node.given}`;
    return `${node.name} ${both(offsets)}${differs ? `, where the file has ${both(node.given)}` : ""}`;
  });
  const more = wrong.length > 4 ? [`and ${wrong.length - 3} more`] : [];
  const lines = [...wrong.slice(0, 4 - more.length), ...more].map((line) => element("p", { class: "bad" }, line));
  if (fine.length) lines.push(element("p", {}, `Offsets of the crops: ${fine.join(", ")}.`));
  at("state").replaceChildren(...lines);
}

function makeRows() {
  at("layers").replaceChildren(...nodes.map((node, i) => {
    const button = element("button", { type: "button" }, element("b", {}, node.name),
      element("span", { class: "what" }), element("span", { class: "size" }));
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") point(i); });
    button.addEventListener("focus", () => choose(i));
    button.addEventListener("click", () => choose(i));
    return element("li", {}, button);
  }));
  at("layers").addEventListener("pointerleave", () => point(null));
  at("layers").addEventListener("keydown", (event) => {
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: nodes.length - 1 }[event.key];
    const field = at("panel").querySelector("input") || at("height");
    if (event.key === "Enter") { field.focus(); field.select(); }
    else if (to === undefined) return;
    else buttons()[Math.max(0, Math.min(nodes.length - 1, to))].focus();
    event.preventDefault();
  });
  at("panel").addEventListener("keydown", (event) => { if (event.key === "Escape") buttons()[chosen].focus(); });
}
const buttons = () => at("layers").querySelectorAll("button");

function showRows() {
  buttons().forEach((button, i) => {
    const refused = whyOf(i).length > 0 || i === firstFault();
    const type = element("span", { class: nodes[i].kernel ? "op" : "" }, `${typeOf(nodes[i])} `);
    button.children[1].replaceChildren(...(refused ? ["refused"] : [type, nodes[i].kernel ? windowText(nodes[i]) : ""]));
    button.children[2].textContent = shapeText(i);
    button.className = `${refused ? "refused" : ""} ${isChanged(i) ? "changed" : ""}`;
    button.tabIndex = i === chosen ? 0 : -1;
    button.setAttribute("aria-current", i === chosen);
  });
}

/** A box for each layer, as wide as the logarithm of its rows, and lines from the layers that it takes. */
function draw() {
  const small = at("net").clientWidth < 600, wide = small ? 64 : 150, edges = [];
  nodes.forEach((node, i) => {
    for (const j of new Set(node.from)) edges.push({ from: j, to: i, dashed: false });
    for (const j of new Set([node.like ?? []].flat())) edges.push({ from: j, to: i, dashed: true });
  });
  const far = edges.filter(({ from, to }) => to - from > 1).sort((a, b) => a.to - a.from - (b.to - b.from)), lanes = [];
  for (const edge of far) {
    edge.lane = lanes.findIndex((lane) => lane.every(({ from, to }) => edge.to < from || to < edge.from));
    if (edge.lane < 0) edge.lane = lanes.push([]) - 1;
    lanes[edge.lane].push(edge);
  }
  const step = Math.min(small ? 7 : 12, (small ? 36 : 120) / Math.max(lanes.length, 1)), left = 6 + lanes.length * step;
  const largest = Math.log2(1 + Math.max(...nodes.map((_, i) => (isFit(i) && result.axes[0].sizes[i]) || 1)));
  const widths = nodes.map((_, i) => {
    const rows = isFit(i) ? result.axes[0].sizes[i] : null;
    return rows === null ? 10 : Math.max(10, (wide * Math.log2(1 + rows)) / largest);
  });
  const middle = left + wide / 2, y = (i) => i * ROW + ROW / 2, svg = at("net").querySelector("svg");
  at("net").style.setProperty("--drawing", `${left + wide + 10}px`);
  svg.setAttribute("width", left + wide);
  svg.setAttribute("height", nodes.length * ROW);
  const lines = edges.map(({ from, to, lane, dashed }) => {
    const x = left - 4 - (lane ?? 0) * step, ends = [from, to].map((i) => middle - widths[i] / 2);
    const path = lane === undefined ? `M${middle} ${y(from)}V${y(to)}`
      : `M${ends[0]} ${y(from) + 4}H${x + 3}Q${x} ${y(from) + 4} ${x} ${y(from) + 7}V${y(to) - 7}Q${x} ${y(to) - 4} ${x + 3} ${y(to) - 4}H${ends[1]}`;
    return drawn("path", { d: path, fill: "none", stroke: "var(--quiet)", "stroke-dasharray": dashed ? "3 3" : "none" });
  });
  const boxes = nodes.map((node, i) => drawn("rect", {
    x: middle - widths[i] / 2, width: widths[i], rx: 3, fill: colour(node),
    ...(node.kind === "same" ? { y: y(i) - 4, height: 8 } : { y: y(i) - 10, height: 20 }),
    ...(whyOf(i).length || i === firstFault() ? { stroke: "var(--bad)", "stroke-width": 3 } : {}),
  }));
  svg.replaceChildren(...lines, ...boxes);
}

function point(i) { pointed = i; showPanel(); }
function choose(i) { chosen = i; pointed = null; showRows(); showPanel(); }

/** The numbers of the layer that is pointed at, or else of the chosen one. */
function showPanel() {
  const i = pointed ?? chosen, node = nodes[i], facts = [];
  const fact = (name, value) => facts.push(element("dt", {}, name), element("dd", {}, value));
  const maps = (pair) => both(pair.map((map) => (map ? mapText(map) : "–")));
  fact("Type", typeOf(node));
  if (node.from) fact("Parameters", result.parameters[i]?.toLocaleString("en") ?? "–");
  fact(result.shapes[i]?.length === 3 ? "Channels, rows, columns" : "Size", shapeText(i));
  const exact = axesOf((axis) => axis.exact[i]);
  if (node.from && exact.every(Boolean)) fact("Without rounding", exact.map((each, k) => exactText(each, "HW"[k])).join(TIMES));
  for (const key of ["dilate", "adj"]) if (node[key]?.some((each) => each > (key === "dilate"))) fact(key, both(node[key]));
  if (node.kind === "crop") {
    const offsets = axesOf((axis) => axis.offsets[i]);
    fact("Offset", offsets.every((each) => each !== null) ? both(offsets) : "none");
    for (const j of [node.from[0], node.like]) fact(`Map of ${nodes[j].name}`, maps(axesOf((axis) => axis.maps[j])));
  }
  fact("Map to its input", maps(axesOf((axis) => axis.own[i])));
  fact("Map to the image", maps(axesOf((axis) => axis.maps[i])));
  const fields = axesOf((axis) => axis.fields[i]);
  if (node.from) fact("Receptive field", fields.every((each) => each !== null) ? `${fields.join(TIMES)} pixels` : "–");
  at("panel").replaceChildren(element("h2", {}, node.name), ...whyOf(i).map((why) => element("p", { class: "why bad" }, why)),
    ...(node.kernel ? [windowFields(i)] : []), element("dl", {}, ...facts), ...place(i));
}

/** Fields for the kernel, stride and pad: one for both axes, or one for each where they differ. */
function windowFields(i) {
  const node = nodes[i], fields = [];
  for (const key of KEYS) {
    const given = GIVEN.nodes[i][key], square = given[0] === given[1];
    for (const axes of square ? [[0, 1]] : [[0], [1]]) {
      const input = element("input", { type: "number", min: key === "pad" ? 0 : 1, max: 9999, required: "", value: node[key][axes[0]] });
      const was = element("span", { class: "was" });
      const note = () => { was.textContent = node[key][axes[0]] === given[axes[0]] ? "" : `was ${given[axes[0]]}`; };
      input.addEventListener("input", () => {
        if (!input.checkValidity()) return;
        axes.forEach((axis) => setWindow(node, key, axis, input.valueAsNumber));
        note();
        refresh(input);
      });
      note();
      fields.push(element("label", {}, `${key}${square ? "" : axes[0] ? ", columns" : ", rows"}`, input, was));
    }
  }
  return element("div", { id: "windows" }, ...fields);
}

/** Compute again, and keep the field that is being typed in. */
function refresh(input) {
  const kept = input.closest("#windows");
  pointed = null;
  update();
  at("windows").replaceWith(kept);
  input.focus();
}

/** Where the layer lies: the image, the layer's cells, and what its middle cell sees. */
function place(i) {
  const boxes = [["--image", "the image", [0, 1].map((axis) => [0, size[axis]])]], known = axesOf((axis) => axis.maps[i]);
  const sizes = axesOf((axis) => axis.sizes[i]), edge = (map, x) => Number(map.stride.n * BigInt(x) * map.offset.d + map.offset.n * map.stride.d) / Number(map.stride.d * map.offset.d);
  if (!isFit(i) || known.includes(null) || sizes.includes(null)) return [];
  boxes.push(["--convolution", "the layer", known.map((map, axis) => [edge(map, 0), edge(map, sizes[axis])])]);
  const middle = sizes.map((each) => each >> 1), sees = axesOf((axis, k) => axis.sees(i, middle[k]));
  if (sees.every((each) => each && each[0] !== null))
    boxes.push(["--crop", "what its middle cell sees", sees.map(([first, last]) => [first, last + 1])]);
  boxes.push(["--pooling", "that cell", known.map((map, axis) => [edge(map, middle[axis]), edge(map, middle[axis] + 1)])]);
  const least = [1, 0].map((axis) => Math.min(...boxes.map((box) => box[2][axis][0])));
  const most = [1, 0].map((axis) => Math.max(...boxes.map((box) => box[2][axis][1])));
  const margin = 0.02 * Math.max(most[0] - least[0], most[1] - least[1]);
  const svg = drawn("svg", { role: "img", "aria-label": "where the layer lies in the image",
    viewBox: `${least[0] - margin} ${least[1] - margin} ${most[0] - least[0] + 2 * margin} ${most[1] - least[1] + 2 * margin}` });
  svg.append(...boxes.map(([name, , [rows, columns]], k) => drawn("rect", { x: columns[0], y: rows[0],
    width: columns[1] - columns[0], height: rows[1] - rows[0], fill: k ? "none" : `var(${name})`, "fill-opacity": 0.35,
    stroke: `var(${name})`, "stroke-width": 2, "vector-effect": "non-scaling-stroke" })));
  const keys = boxes.map(([name, words]) => element("span", {}, element("i", { class: "key", style: `color: var(${name})` }), `${words} `));
  return [element("figure", {}, svg, element("figcaption", {}, ...keys))];
}

for (const [axis, id] of ["height", "width"].entries())
  at(id).addEventListener("input", () => {
    if (!at(id).checkValidity()) return;
    size[axis] = at(id).valueAsNumber;
    update();
  });
at("undo").addEventListener("click", begin);
at("image").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => draw());
nodes = GIVEN.nodes;
chosen = Math.max(0, nodes.findIndex((node) => node.kernel));
makeRows();
begin();

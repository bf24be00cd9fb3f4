// The page: shows the layer that is pointed at or chosen, and takes changes. net.js computes, draw.js draws.

const GIVEN = JSON.parse(document.getElementById("data").textContent);
const KEYS = ["kernel", "stride", "pad"], TIMES = " × ";
const at = (id) => document.getElementById(id);
let nodes, size, result, chosen, pointed = null;

/** An element with attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number for both axes, or rows × columns where they differ. */
const both = (pair) => (`${pair[0]}` === `${pair[1]}` ? `${pair[0]}` : pair.join(TIMES));
const axesOf = (f) => result.axes.map(f);
const whyOf = (i) => [...new Set(axesOf((axis) => axis.refused.get(i)).filter(Boolean))];
const isChanged = (i) => KEYS.some((key) => nodes[i][key] && `${nodes[i][key]}` !== `${GIVEN.nodes[i][key]}`);
/** The first node that the image does not fit; from there on there are no sizes. */
const firstFault = () => Math.min(...axesOf((axis) => (axis.fault ? axis.fault.node : Infinity)));
const isFit = (i) => i < firstFault();
const isRefused = (i) => whyOf(i).length > 0 || i === firstFault();
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
  const most = wrong.length > 4 ? [...wrong.slice(0, 3), `and ${wrong.length - 3} more`] : wrong;
  const lines = most.map((line) => element("p", { class: "bad" }, line));
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
  at("panel").addEventListener("keydown", (event) => {
    if (event.key === "Escape") buttons()[chosen].focus();
  });
}
const buttons = () => at("layers").querySelectorAll("button");

function showRows() {
  buttons().forEach((button, i) => {
    const refused = isRefused(i), node = nodes[i];
    const type = element("span", { class: node.kernel ? "op" : "" }, `${typeOf(node)} `);
    const what = refused ? ["refused"] : [type, node.kernel ? windowText(node) : ""];
    button.children[1].replaceChildren(...what);
    button.children[2].textContent = shapeText(i);
    button.className = `${refused ? "refused" : ""} ${isChanged(i) ? "changed" : ""}`;
    button.tabIndex = i === chosen ? 0 : -1;
    button.setAttribute("aria-current", i === chosen);
  });
}

function point(i) { pointed = i; showPanel(); }
function choose(i) { chosen = i; pointed = null; showRows(); showPanel(); }

/** The numbers of the layer that is pointed at, or else of the chosen one. */
function showPanel() {
  const i = pointed ?? chosen, facts = factsOf(i);
  const rows = facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  at("panel").replaceChildren(
    element("h2", {}, nodes[i].name),
    ...whyOf(i).map((why) => element("p", { class: "bad" }, why)),
    ...(nodes[i].kernel ? [windowFields(i)] : []),
    element("dl", {}, ...rows),
    ...place(i),
  );
}

/** Pairs of a name and a value. */
function factsOf(i) {
  const node = nodes[i], [rows, columns] = result.axes, facts = [["Type", typeOf(node)]];
  const fact = (name, value) => facts.push([name, value]);
  const maps = (key, j) => both([rows[key][j], columns[key][j]].map((map) => (map ? mapText(map) : "–")));
  const areKnown = (key) => rows[key][i] !== null && columns[key][i] !== null;
  if (node.from) fact("Parameters", result.parameters[i]?.toLocaleString("en") ?? "–");
  fact(result.shapes[i]?.length === 3 ? "Channels, rows, columns" : "Size", shapeText(i));
  if (node.from && areKnown("exact"))
    fact("Without rounding", `${exactText(rows.exact[i], "H")}, ${exactText(columns.exact[i], "W")}`);
  if (node.dilate?.some((each) => each > 1)) fact("Dilation", both(node.dilate));
  if (node.adj?.some(Boolean)) fact("adj", both(node.adj));
  if (node.kind === "crop") {
    fact("Offset", areKnown("offsets") ? both([rows.offsets[i], columns.offsets[i]]) : "none");
    for (const j of [node.from[0], node.like]) fact(`Map of ${nodes[j].name}`, maps("maps", j));
  }
  if (node.from) fact("Map to its input", maps("own", i));
  fact("Map to the image", maps("maps", i));
  const seen = areKnown("fields") ? `${rows.fields[i]}${TIMES}${columns.fields[i]} pixels` : "–";
  if (node.from) fact("Receptive field", seen);
  return facts;
}

/** Fields for the kernel, stride and pad: one for both axes, or one for each where they differ. */
function windowFields(i) {
  const fields = KEYS.flatMap((key) => {
    const [rows, columns] = GIVEN.nodes[i][key];
    if (rows === columns) return [windowField(i, key, [0, 1], key)];
    return [windowField(i, key, [0], `${key}, rows`), windowField(i, key, [1], `${key}, columns`)];
  });
  return element("div", { id: "windows" }, ...fields);
}

function windowField(i, key, axes, words) {
  const given = GIVEN.nodes[i][key][axes[0]], now = () => nodes[i][key][axes[0]];
  const least = key === "pad" ? 0 : 1, was = element("span", { class: "was" });
  const input = element("input", { type: "number", min: least, max: 9999, required: "", value: now() });
  const note = () => { was.textContent = now() === given ? "" : `was ${given}`; };
  input.addEventListener("input", () => {
    if (!input.checkValidity()) return;
    axes.forEach((axis) => setWindow(nodes[i], key, axis, input.valueAsNumber));
    note();
    refresh(input);
  });
  note();
  return element("label", {}, words, input, was);
}

/** Compute again, and keep the field that is being typed in. */
function refresh(input) {
  const kept = input.closest("#windows");
  pointed = null;
  update();
  at("windows").replaceWith(kept);
  input.focus();
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

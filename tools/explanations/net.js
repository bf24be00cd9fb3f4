"use strict";
// The arithmetic of a net, as symbols/coord_map.py and symbols/graph/ have it: sizes, coordinate maps, crop
// offsets and receptive fields. Axis 0 is rows, axis 1 columns. A map is {stride, offset}, of fractions {n, d}.

const LONGEST = 4096; // period of cells that see alike; longer ones are not followed

const gcd = (a, b) => (b ? gcd(b, a % b) : a < 0 ? -a : a);
const lcm = (a, b) => (a / gcd(a, b)) * b;

function fraction(n, d = 1n) {
  const common = gcd(n, d) * (d < 0n ? -1n : 1n);
  return { n: n / common, d: d / common };
}
const whole = (number) => fraction(BigInt(number));
const plus = (a, b) => fraction(a.n * b.d + b.n * a.d, a.d * b.d);
const times = (a, b) => fraction(a.n * b.n, a.d * b.d);
const over = (a, b) => fraction(a.n * b.d, a.d * b.n);
const negated = (a) => ({ n: -a.n, d: a.d });
const same = (a, b) => a.n === b.n && a.d === b.d;
const toNumber = (a) => Number(a.n) / Number(a.d);
const text = (a) => (a.d === 1n ? `${a.n}` : `${a.n}/${a.d}`);

const IDENTITY = { stride: whole(1), offset: whole(0) };
const sameMap = (a, b) => same(a.stride, b.stride) && same(a.offset, b.offset);
const mapText = (map) => `(${text(map.stride)}, ${text(map.offset)})`;
const composed = (first, second) => ({
  stride: times(first.stride, second.stride),
  offset: plus(times(first.stride, second.offset), first.offset),
});
const inverse = ({ stride, offset }) =>
  ({ stride: over(whole(1), stride), offset: negated(over(offset, stride)) });
const isShort = (map) =>
  [map.stride, map.offset].every((a) => (a.n < 0n ? -a.n : a.n) >> 64n === 0n && a.d >> 64n === 0n);

const spanned = (node, axis) => (node.kernel[axis] - 1) * node.dilate[axis] + 1;

/** Map of a convolution, pooling or deconvolution to its input. */
function windowMap(node, axis) {
  const stride = BigInt(node.stride[axis]);
  const offset = plus(fraction(BigInt(spanned(node, axis)) - stride, 2n), whole(-node.pad[axis]));
  const map = { stride: whole(stride), offset };
  return node.kind === "deconvolution" ? inverse(map) : map;
}

/** Change a kernel, stride or pad. An adj of stride - 1, as the builders set it, stays so. */
function setWindow(node, key, axis, value) {
  const follows = node.adj && node.adj[axis] > 0 && node.adj[axis] === node.stride[axis] - 1;
  node[key][axis] = value;
  const most = node.stride[axis] - 1;
  if (node.adj) node.adj[axis] = follows ? most : Math.min(node.adj[axis], most);
}

/** Everything about a net for an image of H rows and W columns. */
function computed(nodes, size) {
  const axes = [0, 1].map((axis) => {
    const { maps, own, offsets, refused } = mapsOf(nodes, axis);
    const { sizes, fault } = sizesOf(nodes, axis, size[axis], offsets);
    const exact = exactOf(nodes, axis);
    return { maps, own, offsets, refused, sizes, fault, exact, ...sightOf(nodes, maps, offsets, axis) };
  });
  const shapes = shapesOf(nodes, axes);
  return { axes, shapes, parameters: nodes.map((node) => parametersOf(node, shapes)) };
}

/** Maps of all nodes, and the offsets of crops that follow. A node that is refused has no map. */
function mapsOf(nodes, axis) {
  const maps = [], own = [], offsets = [], refused = new Map();
  nodes.forEach((node, i) => {
    own[i] = maps[i] = offsets[i] = null;
    if (!node.from) { maps[i] = IDENTITY; return; }
    const images = node.from.filter((j) => nodes[j].kind !== "variable");
    const sources = images.length ? images : node.from.slice(0, 1);
    if (node.kind === "crop") {
      if (!maps[sources[0]] || !maps[node.like]) return;
      const [x, like] = [sources[0], node.like];
      const { offset, why } = cropOffset(nodes[x], maps[x], nodes[like], maps[like]);
      if (why) { refused.set(i, why); return; }
      offsets[i] = Number(offset.n);
      own[i] = { stride: whole(1), offset };
    } else {
      own[i] = ownMap(node, axis);
    }
    if (!own[i] || sources.some((j) => !maps[j])) return;
    const first = maps[sources[0]] || IDENTITY, other = sources.find((j) => !sameMap(maps[j], first));
    if (other !== undefined) {
      const pair = [sources[0], other].map((j) => `'${nodes[j].name}', map ${mapText(maps[j])}`);
      refused.set(i, `${node.op} '${node.name}' joins ${pair.join(", and ")}: ` +
        "their cells do not coincide; crop one like the other first");
      return;
    }
    const map = composed(first, own[i]);
    if (isShort(map)) maps[i] = map;
  });
  return { maps, own, offsets, refused };
}

function ownMap(node, axis) {
  if (["convolution", "pooling", "deconvolution"].includes(node.kind)) return windowMap(node, axis);
  if (node.kind === "upsampling") return { stride: fraction(1n, BigInt(node.scale)), offset: whole(0) };
  if (node.offset) return { stride: whole(1), offset: whole(node.offset[axis]) };
  return node.identity ? IDENTITY : null;
}

/** Cells to cut from the start of x so that the others lie on those of `like`, or why there is no number. */
function cropOffset(x, xMap, like, likeMap) {
  const map = composed(inverse(likeMap), xMap), offset = negated(map.offset);
  const pair = `cannot crop '${x.name}', map ${mapText(xMap)}, like '${like.name}', map ${mapText(likeMap)}`;
  if (!same(map.stride, whole(1)))
    return { why: `${pair}: their strides differ by a factor of ${text(map.stride)}; resample one first` };
  if (offset.n < 0n)
    return { why: `${pair}: the offset would be ${text(offset)}, negative; pad the first layer more` };
  if (offset.d !== 1n)
    return { why: `${pair}: the offset would be ${text(offset)}, not whole; change a kernel or pad` };
  return { offset };
}

/** Rows or columns of all nodes, null where they are not known; and the first node that they do not fit. */
function sizesOf(nodes, axis, height, offsets) {
  const sizes = [], what = ["rows", "columns"][axis];
  let fault = null;
  nodes.forEach((node, i) => {
    const inputs = (node.from || []).map((j) => sizes[j]), x = inputs.length ? inputs[0] : null;
    const size = sizeOf(node, axis, height, x, inputs, sizes);
    sizes[i] = Number.isSafeInteger(size) ? size : null;
    const why = fault === null && misfit(node, axis, x, inputs, sizes[i], offsets[i], what);
    if (why) fault = { node: i, why: `'${node.name}' ${why}` };
  });
  return { sizes, fault };
}

function sizeOf(node, axis, height, x, inputs, sizes) {
  if (node.kind === "image") return height;
  if (node.kind === "fixed") return node.size[axis];
  if (node.kind === "crop") return sizes[node.like];
  if (node.kind === "like") return sizes[node.like[axis]];
  if (x === null) return null;
  if (node.kind === "same") return x;
  if (node.kind === "join") return node.equal || inputs.every((each) => each === x) ? x : null;
  if (node.kind === "upsampling") return x * node.scale;
  if (!node.kernel) return null;
  const stride = node.stride[axis], rest = spanned(node, axis) - 2 * node.pad[axis];
  if (node.kind === "deconvolution") return stride * (x - 1) + rest + node.adj[axis];
  if (node.round) return Math[node.round]((x - rest) / stride) + 1;
  return null;
}

/** Sizes without rounding and adj, as {scale, shift} of scale H + shift; null where there is none. */
function exactOf(nodes, axis) {
  const sizes = [];
  nodes.forEach((node, i) => {
    const x = node.from?.length ? sizes[node.from[0]] : null;
    const image = { scale: whole(1), shift: whole(0) };
    sizes[i] = node.kind === "image" ? image : x && exactFrom(node, axis, x, sizes);
    if (sizes[i] && !isShort({ stride: sizes[i].scale, offset: sizes[i].shift })) sizes[i] = null;
  });
  return sizes;
}

function exactFrom(node, axis, { scale, shift }, sizes) {
  if (node.kind === "crop") return sizes[node.like];
  if (node.op === "slice_like") return null; // it cuts the end alone
  if (node.kind === "like") return sizes[node.like[axis]];
  if (node.identity) return { scale, shift };
  if (node.kind === "upsampling")
    return { scale: times(scale, whole(node.scale)), shift: times(shift, whole(node.scale)) };
  if (!node.kernel) return null;
  const stride = whole(node.stride[axis]), rest = whole(spanned(node, axis) - 2 * node.pad[axis]);
  if (node.kind === "deconvolution")
    return { scale: times(scale, stride), shift: plus(times(plus(shift, whole(-1)), stride), rest) };
  return { scale: over(scale, stride), shift: plus(over(plus(shift, negated(rest)), stride), whole(1)) };
}

/** `(H + 6)/32 + 12`: a remainder below the divisor beside H. */
function exactText({ scale, shift }, variable) {
  const divisor = scale.d > 1n ? lcm(scale.d, shift.d) : 1n, all = times(shift, whole(divisor));
  const quotient = shift.n > 0n && divisor > 1n ? all.n / divisor : 0n;
  const rest = plus(all, whole(-quotient * divisor)), factor = (scale.n * divisor) / scale.d;
  const base = factor === 1n ? variable : `${factor} ${variable}`;
  const added = (start, a) =>
    a.n ? `${start} ${a.n < 0n ? "-" : "+"} ${text(a.n < 0n ? negated(a) : a)}` : start;
  const inner = rest.n && divisor > 1n ? `(${added(base, rest)})` : added(base, rest);
  return added(divisor > 1n ? `${inner}/${divisor}` : inner, whole(quotient));
}

/** Why a node does not take sizes, in words; null if it does. */
function misfit(node, axis, x, inputs, own, offset, what) {
  if ((node.kind === "convolution" || node.kind === "pooling") && x !== null) {
    const padded = x + 2 * node.pad[axis], kernel = spanned(node, axis);
    if (padded < kernel) return `has a kernel of ${kernel} ${what} and an input of ${padded}`;
  }
  const start = node.kind === "crop" ? offset : node.op === "Crop" ? (node.offset || [0, 0])[axis] : null;
  if (start !== null && x !== null && own !== null && start + own > x)
    return `cuts ${own} ${what} out of ${x}, from ${start} on`;
  if (node.kind === "join" && node.equal) {
    const known = inputs.filter((each) => each !== null), other = known.find((each) => each !== known[0]);
    if (other !== undefined)
      return `joins layers of ${Math.min(known[0], other)} and ${Math.max(known[0], other)} ${what}`;
  }
  return own !== null && own < 1 ? `has ${own} ${what}` : null;
}

/** Most pixels that a cell of each node sees; and which pixels a given cell sees, first and last. */
function sightOf(nodes, maps, offsets, axis) {
  // What the cells of a node see repeats: `ends` has the first and the last pixels of a period of them, null
  // for a cell that sees none, and the next period sees the same `shift` pixels further on.
  const sights = [], fields = [];
  const seen = (i, c, end) => {
    const { ends, shift } = sights[i], turns = Math.floor(c / ends[end].length);
    const pixel = ends[end][c - turns * ends[end].length];
    return pixel === null ? null : pixel + turns * shift;
  };
  const farthest = (node, cells, end) => {
    let found = null;
    for (const j of node.from) {
      let pixel = null, c = cells[end];
      for (; pixel === null && cells[0] <= c && c <= cells[1]; c += end ? -1 : 1) pixel = seen(j, c, end);
      if (pixel !== null) found = found === null ? pixel : Math[end ? "max" : "min"](found, pixel);
    }
    return found;
  };
  nodes.forEach((node, i) => {
    sights[i] = fields[i] = null;
    const pixel = node.kind === "image" ? 0 : null;
    if (!node.from) sights[i] = { ends: [[pixel], [pixel]], shift: 1 };
    if (!node.from || !maps[i] || node.everywhere || node.from.some((j) => !sights[j])) return;
    const { n, d } = maps[i].stride, shift = node.from.reduce((a, j) => lcm(a, BigInt(sights[j].shift)), n);
    const period = (shift / n) * d;
    if (shift > LONGEST || period > LONGEST) return;
    const ends = [[], []];
    for (let c = 0; c < period; c++)
      for (const end of [0, 1]) ends[end].push(farthest(node, cellsOf(node, axis, c, offsets[i]), end));
    sights[i] = { ends, shift: Number(shift) };
    ends[0].forEach((first, c) => {
      if (first !== null) fields[i] = Math.max(fields[i] ?? 0, ends[1][c] - first + 1);
    });
  });
  return { fields, sees: (i, c) => (fields[i] === null ? null : [seen(i, c, 0), seen(i, c, 1)]) };
}

/** First and last cell of its input that cell c of a node is made of. */
function cellsOf(node, axis, c, offset) {
  if (node.kind === "crop" || node.offset) { const at = c + (offset ?? node.offset[axis]); return [at, at]; }
  if (node.kind === "upsampling") { const at = Math.floor(c / node.scale); return [at, at]; }
  if (!node.kernel) return [c, c];
  const kernel = spanned(node, axis), stride = node.stride[axis], pad = node.pad[axis];
  if (node.kind === "deconvolution")
    return [Math.ceil((c + pad - kernel + 1) / stride), Math.floor((c + pad) / stride)];
  return [stride * c - pad, stride * c - pad + kernel - 1];
}

/** Shapes without the batch: [channels, rows, columns] or fewer numbers; null where they are not known. */
function shapesOf(nodes, axes) {
  const shapes = [];
  nodes.forEach((node, i) => {
    const sizes = axes.map((each) => each.sizes[i]), sources = (node.from || []).map((j) => shapes[j]);
    const given = node.shape && node.shape.slice(1), kept = (node.from || []).every((j) => nodes[j].kept);
    if (!sizes.includes(null)) shapes[i] = given?.length === 3 ? [given[0], ...sizes] : sizes;
    else if (node.kind === "flatten") shapes[i] = sources[0] && [sources[0].reduce((a, b) => a * b)];
    else shapes[i] = node.kind === "dense" || kept ? given : null;
    node.kept = `${shapes[i]}` === `${given}`; // as MXNet gave it for the net as it was
  });
  return shapes;
}

/** Weights and biases: of a window so many for each of its cells, of a dense layer for each of its inputs. */
function parametersOf(node, shapes) {
  if (!node.unit) return node.base;
  const input = node.kind === "dense" ? shapes[node.from[0]] : node.kernel;
  return input && node.base + node.unit * input.reduce((a, b) => a * b);
}

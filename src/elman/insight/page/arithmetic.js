// One step's arithmetic: the lines of equations.py, worked out with the numbers of a step. An expression is ["name",
// label], ["number", value], ["call", function, ...], or an operation with one or two of them; its value is a vector,
// one number per unit.
"use strict";

const OPERATIONS = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  power: (a, b) => a ** b,
  negative: (a) => -a,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  relu: (a) => Math.max(a, 0),
  "relu'": (y) => (y > 0 ? 1 : 0),
  clip: (a, most) => Math.max(-most, Math.min(most, a)),
  maximum: Math.max,
  minimum: Math.min,
  absolute: Math.abs,
  sign: Math.sign,
  ...Object.fromEntries(["tanh", "exp", "log", "sqrt", "sin", "cos"].map((name) => [name, Math[name]])),
};

const only = (vector, k) => (vector.length === 1 ? vector[0] : vector[k]);

// The value of an expression at a step; `lines` are those among which its names are looked for first.
function evaluate(layer, step, shown, lines) {
  const [kind, ...parts] = shown;
  if (kind === "name") return named(layer, step, parts[0], lines);
  if (kind === "number") return parts.flat();
  if (kind === "matmul") return total(products(layer, step, shown, lines));
  const [name, operands] = kind === "call" ? [parts[0], parts.slice(1)] : [kind, parts];
  const values = operands.map((part) => evaluate(layer, step, part, lines));
  if (name === "concatenate") return values.flatMap((value) => Array.from(value));
  if (name === "mean") return [values[0].reduce((sum, value) => sum + value, 0) / values[0].length];
  const apply = OPERATIONS[name] ?? (() => NaN);
  const length = Math.max(...values.map((value) => value.length));
  return Array.from({ length }, (_, k) => apply(...values.map((value) => only(value, k))));
}

// What the page holds under a name at a step; undefined where it does not.
function held(layer, step, name) {
  const array = layer.arriving[name] ?? layer.arrays[layer.held[name]];
  return array && row(array, step);
}

// The value of a name at a step; those of late are kept, as many lines ask for the same.
function named(layer, step, name, lines) {
  layer.known ??= new Map();
  const key = `${step} ${lines === layer.forward} ${name}`;
  if (layer.known.size > 1000) layer.known.clear();
  if (!layer.known.has(key)) layer.known.set(key, lookup(layer, step, name, lines));
  return layer.known.get(key);
}

function lookup(layer, step, name, lines) {
  const nothing = () => new Array(layer.units.length).fill(0);
  if (name.endsWith("⁺")) {
    const after = neighbor(layer, step, 1);
    return after === null ? nothing() : named(layer, after, name.slice(0, -1), lines);
  }
  if (name.startsWith("above ")) {
    const [whole, next] = [`d${name.slice(6)}'`, `d${name.slice(6)}⁺`].map((one) => named(layer, step, one, lines));
    return whole.map((value, k) => value - next[k]);
  }
  if (name === "x") return row(layer.input, step);
  if (layer.states.includes(name)) {
    return Array.from({ length: layer.arrays[name].shape[1] }, (_, unit) => stateBefore(layer, name, step, unit));
  }
  const found = held(layer, step, name);
  if (found) return found;
  const weights = weight(layer, name);
  if (weights) return weights.gates.flatMap((gate) => Array.from(weights.at(0, gate)));
  for (const among of [lines, layer.forward]) {
    const line = among.find((one) => one.name === name);
    if (line) return evaluate(layer, step, line.shown, among);
    const blocks = layer.gates.map((gate) => among.find((one) => one.name === `${name}_${gate}`));
    if (blocks.length && blocks.every(Boolean))
      return blocks.flatMap(({ shown }) => evaluate(layer, step, shown, among));
  }
  return [NaN];
}

// A weight (rows, gates, units) by its name, "Wh", "Wh_f" or "Wh_rz", and the places of the gates that are named.
function weight(layer, name) {
  const [base, gates] = layer.blocks[name] ?? [];
  if (!layer.weights[base]) return null;
  const [rows, count, units] = layer.weights[base].shape;
  const values = read(layer.weights[base]);
  const at = (j, gate) => values.subarray((j * count + gate) * units, (j * count + gate + 1) * units);
  return { rows, gates, units, at };
}

// The products of which each value of "V W" is the sum: how many values there are, and of(k) -> [{what, left, right}].
function products(layer, step, [, left, right], lines) {
  const turned = right[0] === "transpose";
  const weights = weight(layer, turned ? right[1][1] : right[1]);
  if (!weights) return { count: 1, of: () => [{ what: "", left: NaN, right: NaN }] };
  const { rows, gates, units, at } = weights;
  const vector = evaluate(layer, step, left, lines);
  const label = (j) => `[${left[1] === "x" ? j : (layer.units[j] ?? j)}]`;
  const ofGate = (g) => (gates.length > 1 ? `_${layer.gates[gates[g]]}` : "");
  const across = (k) => {
    const column = gates[Math.floor(k / units)];
    return Array.from({ length: rows }, (_, j) => ({
      what: label(j),
      left: vector[j],
      right: at(j, column)[k % units],
    }));
  };
  const along = (j) =>
    Array.from({ length: gates.length * units }, (_, k) => {
      const [g, unit] = [Math.floor(k / units), k % units];
      return { what: ofGate(g) + label(unit), left: vector[k], right: at(j, gates[g])[unit] };
    });
  return turned ? { count: rows, of: along } : { count: gates.length * units, of: across };
}

function total({ count, of }) {
  return Array.from({ length: count }, (_, k) => of(k).reduce((sum, { left, right }) => sum + left * right, 0));
}

// One line of the exercise for a unit: symbols, numbers, the result that the array holds, and what the line does not
// show; null where it has no number.
function worked(layer, step, unit, line, lines, digits) {
  if (!line.numbers.length) return null;
  const value = (shown) => only(evaluate(layer, step, shown, lines), unit);
  const show = (a) => (a < 0 ? `(${number(a, digits)})` : number(a, digits));
  const found = value(line.shown);
  const array = held(layer, step, line.name);
  const result = array ? only(array, unit) : found;
  if (result === undefined || Number.isNaN(result)) return null;
  const filled = line.numbers.map((text, i) => (i % 2 ? show(value(line.leaves[text].shown)) : text)).join("");
  if (filled.includes("NaN")) return null; // of a function that the page cannot work out
  const numbers = filled.replace(/\(\(([^()]*)\)\)/g, "($1)");
  const sums = line.leaves
    .filter(({ shown }) => shown[0] === "matmul")
    .map(({ shown, symbols }) => {
      const terms = products(layer, step, shown, lines).of(unit);
      return { title: symbols, terms, total: terms.reduce((a, { left, right }) => a + left * right, 0) };
    });
  const rest = result - found;
  const size = Math.max(Math.abs(result), Math.abs(found), 1e-3);
  return {
    name: line.name,
    symbols: line.symbols,
    numbers,
    result,
    rest: Math.abs(rest) > 1e-4 * size ? rest : 0,
    sums,
  };
}

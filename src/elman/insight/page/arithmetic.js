// One step's arithmetic: equations as text, read with the numbers of one step and unit.
//
// Of an equation such as "c' = f c + i g", names that stand side by side are multiplied. A state with a prime is that
// after the step, without one that before it; "+" above a name is the step after. "h Wh_i" is a sum over all
// units, "da_i⁺ Wh_i.T" one with the turned matrix. `above` is what a gradient has from outside of the recurrence.
"use strict";

const TOKEN = /\s*(?:(\d+(?:\.\d+)?)|([A-Za-z_]\w*(?:\.T|['⁺]+)?)|(\^2|[-+()]))/y;

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`cannot be read: ${text}`);
    found.push(match[1] ?? match[2] ?? match[3]);
  }
  return found;
}

const FUNCTIONS = {
  tanh: Math.tanh,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  relu: (a) => Math.max(a, 0),
  relu_derivative: (y) => (y > 0 ? 1 : 0),
  identity: (a) => a,
};

// A matrix among the weights: its name, gate, and whether it is turned; null for anything else.
function matrix(layer, token) {
  const match = /^(W\w*?)(?:_(\w+))?(\.T)?$/.exec(token ?? "");
  const weight = match && layer.weights[match[1]];
  if (!weight || weight.shape.length < 2) return null;
  return { name: match[1], weight, gate: match[2] ? layer.gates.indexOf(match[2]) : 0, turned: Boolean(match[3]) };
}

// The numbers of one step: `value(name, unit)`, undefined for what the page does not hold.
function lookup(layer, step) {
  return (token, unit) => {
    const name = token.replace(/['⁺]+$/, "");
    const after = token.endsWith("⁺") ? neighbor(layer, step, 1) : step;
    if (name === "x") return layer.input ? at(layer.input, step, unit) : undefined;
    if (layer.states.includes(name) && token === name) return stateBefore(layer, name, step, unit);
    if (layer.arrays[name]) {
      if (unit >= layer.arrays[name].shape[1]) return undefined;
      return after === null ? 0 : at(layer.arrays[name], after, unit);
    }
    const [weight, gate] = [layer.weights[name.split("_")[0]], name.split("_")[1]];
    if (!weight) return undefined;
    return read(weight)[(gate ? layer.gates.indexOf(gate) * weight.shape[1] : 0) + unit];
  };
}

// The products of which "V W" is the sum, for one unit: [{what, left, right}].
function products(layer, step, vector, { name, weight, gate, turned }, unit) {
  const [rows, gates, units] = weight.shape.length === 3 ? weight.shape : [weight.shape[0], 1, weight.shape[1]];
  const weights = read(weight);
  const result = [];
  if (turned) {
    for (let j = 0; j < units; j++) {
      const left = evaluate(layer, step, vector, j).value;
      result.push({
        what: `${vector}[${layer.units[j] ?? j}]`,
        left,
        right: weights[(unit * gates + gate) * units + j],
      });
    }
    return result;
  }
  for (let j = 0; j < rows; j++) {
    const what = name === "Wx" ? `x[${j}]` : `${vector}[${layer.units[j] ?? j}]`;
    result.push({
      what,
      left: evaluate(layer, step, vector, j).value,
      right: weights[(j * gates + gate) * units + unit],
    });
  }
  return result;
}

// The value of an equation's right side for one unit, its text with numbers, and the sums in it.
function evaluate(layer, step, text, unit, { digits = 4, above = 0 } = {}) {
  const list = tokens(text);
  const value = lookup(layer, step);
  const sums = [];
  let i = 0;
  const show = (a) => (a < 0 ? `(${number(a, digits)})` : number(a, digits));

  function primary() {
    const token = list[i++];
    if (token === "(") {
      const inner = sum();
      i++;
      return { value: inner.value, text: `(${inner.text})`, source: `(${inner.source})` };
    }
    const known = token === "above" ? above : /^\d/.test(token) ? Number(token) : value(token, unit);
    if (known === undefined && list[i] === "(") {
      const inner = primary();
      return {
        value: FUNCTIONS[token]?.(inner.value) ?? NaN,
        text: token + inner.text.replace(/^\(\((.*)\)\)$/, "($1)"),
        source: token + inner.source,
      };
    }
    return { value: known, text: /^\d/.test(token) ? token : known === undefined ? token : show(known), source: token };
  }

  function factor() {
    const begin = i;
    const weights = matrix(layer, followingMatrix());
    if (weights) {
      const vector = list
        .slice(begin, i)
        .join(" ")
        .replace(/(\() | (\))/g, "$1$2");
      i++;
      const terms = products(layer, step, vector, weights, unit);
      const total = terms.reduce((a, term) => a + term.left * term.right, 0);
      sums.push({ title: `${vector} ${list[i - 1]}`, terms, total });
      return { value: total, text: show(total), source: `${vector} ${list[i - 1]}` };
    }
    i = begin;
    let result = primary();
    while (list[i] === "^2") {
      i++;
      result = { value: result.value ** 2, text: `${result.text}²`, source: `${result.source}^2` };
    }
    return result;
  }

  // Goes over one name or one pair of brackets, and gives the token after it.
  function followingMatrix() {
    let depth = 0;
    do {
      if (list[i] === "(") depth++;
      if (list[i] === ")") depth--;
      i++;
    } while (depth > 0 && i < list.length);
    return list[i];
  }

  function product() {
    const parts = [];
    while (i < list.length && !["+", "-", ")"].includes(list[i])) parts.push(factor());
    return {
      value: parts.reduce((a, part) => a * part.value, 1),
      text: parts.map((part) => part.text).join(" · "),
      source: parts.map((part) => part.source).join(" "),
    };
  }

  function sum() {
    let result = list[i] === "-" ? { value: 0, text: "", source: "" } : product();
    while (list[i] === "+" || list[i] === "-") {
      const sign = list[i++];
      const next = product();
      result = {
        value: result.value + (sign === "+" ? next.value : -next.value),
        text: `${result.text} ${sign === "+" ? "+" : "−"} ${next.text}`,
        source: `${result.source} ${sign} ${next.source}`,
      };
    }
    return result;
  }

  return { ...sum(), sums };
}

// One line of the exercise: name, symbols, numbers, the result that the array holds, and what the line does not show.
function line(layer, step, unit, [name, text], digits) {
  const held = lookup(layer, step)(name, unit);
  let worked = evaluate(layer, step, text, unit, { digits });
  if (held !== undefined && tokens(text).includes("above")) {
    worked = evaluate(layer, step, text, unit, { digits, above: held - worked.value });
  }
  const result = held ?? worked.value;
  const rest = result - worked.value;
  const size = Math.max(Math.abs(result), Math.abs(worked.value), 1e-3);
  return { name, text, numbers: worked.text, result, rest: Math.abs(rest) > 1e-4 * size ? rest : 0, sums: worked.sums };
}

// The data of the page: arrays as base64 of float32, read once when they are asked for; and numbers as text.
//
// An array is {shape, data}. Of a layer: arrays[name] (steps, units), input (steps, features), weights by name with
// the axis of the gates split, as Wx (input, gates, units). Steps and units count from 0 among those on the page;
// `steps.first` and `units` say what they are called.
"use strict";

function read(array) {
  if (!array.values) {
    const bytes = Uint8Array.from(atob(array.data), (letter) => letter.charCodeAt(0));
    array.values = new Float32Array(bytes.buffer);
    array.data = "";
  }
  return array.values;
}

function at(array, row, column) {
  return read(array)[row * array.shape[1] + column];
}

function row(array, index) {
  const width = array.shape[1];
  return read(array).subarray(index * width, (index + 1) * width);
}

function column(array, index) {
  return Array.from({ length: array.shape[0] }, (_, step) => at(array, step, index));
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (Number.isFinite(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return low > high ? [0, 0] : [low, high];
}

// A number in so many digits; a minus that is as wide as a plus.
function number(value, digits = 4) {
  if (value === undefined || value === null) return "–";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const plain = size >= 1e-4 && size < 1e6;
  const text = plain ? size.toPrecision(digits) : size.toExponential(digits - 1);
  return (value < 0 ? "−" : "") + (text.includes("e") ? text.replace("e-", "e−").replace("e+", "e") : text);
}

// The step before another on the walk of a layer, and the one after it: a layer of the second direction walks back.
function neighbor(layer, step, by) {
  const other = step + (layer.reverse ? -by : by);
  return other >= 0 && other < layer.steps ? other : null;
}

// What stands on the way into a step: the state of the step before it, at the first step the given one.
function stateBefore(layer, name, step, unit) {
  const before = neighbor(layer, step, -1);
  return before === null ? (layer.initial[name]?.[unit] ?? 0) : at(layer.arrays[name], before, unit);
}

// Reads the data of a page, and prints every line of every step and unit: how far its equation is from the array.
import { readFileSync } from "node:fs";
import { load } from "./load.mjs";

const script = load();
const page = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const layer of page.layers) {
  layer.steps = page.steps.count;
  for (const lines of [layer.forward, layer.backward]) {
    for (const line of lines) {
      if (!line.numbers.length) continue;
      let [worst, most, unknown] = [0, 0, 0];
      const from = []; // of a gradient, what comes from outside of the recurrence
      for (let step = 0; step < layer.steps; step++) {
        const state = /^d(.*)'$/.exec(line.name)?.[1];
        if (layer.states.includes(state)) from.push(Array.from(script.named(layer, step, `above ${state}`, lines)));
        const value = script.evaluate(layer, step, line.shown, lines);
        for (let unit = 0; unit < layer.units.length; unit++) {
          const found = script.worked(layer, step, unit, line, lines, 7);
          if (!found) continue;
          const { result, rest, numbers } = found;
          const exact = script.only(value, unit);
          worst = Math.max(worst, rest || Number.isNaN(exact) ? Infinity : Math.abs(result - exact));
          most = Math.max(most, Math.abs(result));
          unknown += /NaN|undefined/.test(numbers) ? 1 : 0;
        }
      }
      found.push({ layer: layer.name, name: line.name, text: line.symbols, worst, most, unknown, from });
    }
  }
}
console.log(JSON.stringify(found));

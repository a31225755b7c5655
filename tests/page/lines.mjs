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
      for (let step = 0; step < layer.steps; step++) {
        const exact = script.evaluate(layer, step, line.shown, lines);
        for (let unit = 0; unit < layer.units.length; unit++) {
          const found = script.worked(layer, step, unit, line, lines, 7);
          if (!found) continue;
          const { result, rest, numbers } = found;
          worst = Math.max(worst, rest || Number.isNaN(exact[unit]) ? Infinity : Math.abs(result - exact[unit]));
          most = Math.max(most, Math.abs(result));
          unknown += /NaN|undefined/.test(numbers) ? 1 : 0;
        }
      }
      found.push({ layer: layer.name, name: line.name, text: line.symbols, worst, most, unknown });
    }
  }
}
console.log(JSON.stringify(found));

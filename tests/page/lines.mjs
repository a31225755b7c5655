// Reads the data of a page, and prints every line of every step and unit: how far its equation is from the array.
import { readFileSync } from "node:fs";
import { load } from "./load.mjs";

const script = load();
const page = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const layer of page.layers) {
  layer.steps = page.steps.count;
  for (const equation of [...layer.forward, ...layer.backward]) {
    let [worst, most, unknown] = [0, 0, 0];
    for (let step = 0; step < layer.steps; step++) {
      for (let unit = 0; unit < layer.units.length; unit++) {
        const above = equation[1].includes("above");
        const held = script.lookup(layer, step)(equation[0], unit);
        if (held === undefined) continue;
        const { result, rest, numbers } = script.line(layer, step, unit, equation, 7);
        const plain = above ? result : script.evaluate(layer, step, equation[1], unit).value;
        worst = Math.max(worst, Number.isNaN(plain) ? Infinity : Math.abs(result - plain));
        most = Math.max(most, Math.abs(result));
        unknown += /[A-Zb]\w*_|NaN|undefined/.test(numbers.replace(/\w+_derivative/g, "")) ? 1 : 0;
        if (above && rest) worst = Infinity;
      }
    }
    found.push({ layer: layer.name, name: equation[0], text: equation[1], worst, most, unknown });
  }
}
console.log(JSON.stringify(found));

// The page's scripts in a context of their own, as one script, without a document: what they define can be called.
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";

const folder = process.env.ELMAN_PAGE ?? new URL("../../src/elman/insight/page/", import.meta.url).pathname;
const names = ["data.js", "colors.js", "arithmetic.js", "draw.js", "panels.js", "outcome.js", "app.js"];

export function load() {
  const context = createContext({ atob, console });
  runInContext(names.map((name) => readFileSync(folder + "/" + name, "utf8")).join("\n"), context);
  return new Proxy({}, { get: (_, name) => runInContext(name, context) });
}

export function pack(rows) {
  const values = Float32Array.from(rows.flat(Infinity));
  const shape = [];
  for (let one = rows; Array.isArray(one); one = one[0]) shape.push(one.length);
  return { shape, data: Buffer.from(values.buffer).toString("base64") };
}

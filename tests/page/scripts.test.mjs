// node --test tests/page
import assert from "node:assert/strict";
import test from "node:test";
import { load, pack } from "./load.mjs";

const page = load();
const near = (a, b, tolerance = 1e-6) =>
  assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${a} is not ${b}`);
let seed = 7;
const random = () => ((seed = (seed * 16807) % 2147483647) / 2147483647) * 2 - 1;
const filled = (...shape) =>
  shape.length ? Array.from({ length: shape[0] }, () => filled(...shape.slice(1))) : random();

// A layer of one gate and 3 units over 4 steps, with 2 features: h' = tanh(x Wx + h Wh + b).
function simple(reverse = false) {
  const [Wx, Wh, b, x, h0] = [filled(2, 1, 3), filled(3, 1, 3), filled(1, 3), filled(4, 2), filled(3)].map((a) =>
    JSON.parse(JSON.stringify(a)),
  );
  const h = [];
  const a = [];
  let before = h0;
  for (const t of reverse ? [3, 2, 1, 0] : [0, 1, 2, 3]) {
    a[t] = [0, 1, 2].map(
      (u) =>
        b[0][u] + x[t].reduce((s, v, j) => s + v * Wx[j][0][u], 0) + before.reduce((s, v, j) => s + v * Wh[j][0][u], 0),
    );
    before = h[t] = a[t].map(Math.tanh);
  }
  const layer = {
    reverse,
    steps: 4,
    states: ["h"],
    gates: ["h"],
    units: [0, 1, 2],
    initial: { h: h0 },
    arrays: { h: pack(h), a_h: pack(a) },
    held: { "h'": "h", a_h: "a_h" },
    arriving: {},
    input: pack(x),
    weights: { Wx: pack(Wx), Wh: pack(Wh), b: pack([b]) },
    blocks: { Wx: ["Wx", [0]], Wh: ["Wh", [0]], b: ["b", [0]] },
    forward: [],
  };
  return { layer, x, h, a, h0 };
}

test("arrays come back as they were packed", () => {
  const array = pack([
    [1.5, -2, 3],
    [4, 5, 6.25],
  ]);
  assert.deepEqual([...page.row(array, 1)], [4, 5, 6.25]);
  assert.deepEqual([...page.column(array, 2)], [3, 6.25]);
  assert.equal(page.at(array, 0, 1), -2);
  assert.equal(page.at(array, 0, 1), -2);
});

test("numbers keep their digits, whatever their size", () => {
  for (const value of [0.12345678, -3.25e-7, 1, 123456.7, 8.1e9, -0.00012345]) {
    const text = page.number(value, 7).replaceAll("−", "-");
    assert.ok(Math.abs(Number(text) - value) <= 1e-6 * Math.abs(value), `${text} for ${value}`);
  }
  assert.deepEqual(
    [0, NaN, Infinity, -Infinity, undefined].map((v) => page.number(v)),
    ["0", "NaN", "∞", "−∞", "–"],
  );
});

test("both directions know the step before", () => {
  for (const reverse of [false, true]) {
    const { layer, h, h0 } = simple(reverse);
    const first = reverse ? 3 : 0;
    const second = reverse ? 2 : 1;
    near(page.stateBefore(layer, "h", first, 2), h0[2]);
    near(page.stateBefore(layer, "h", second, 2), h[first][2]);
    assert.equal(page.neighbor(layer, first, -1), null);
  }
});

const name = (label) => ["name", label];
const of = (kind, ...parts) => [kind, ...parts];
const product = (vector, weight) => of("matmul", name(vector), name(weight));
const inside = of("add", of("add", product("x", "Wx"), product("h", "Wh")), name("b"));
const lineOf = (label, shown, leaves, numbers) => ({
  name: label,
  shown,
  symbols: "as text",
  numbers,
  leaves: leaves.map((leaf) => ({ shown: leaf, symbols: "leaf" })),
});

test("an equation gives the number that the array holds, and shows the numbers in it", () => {
  for (const reverse of [false, true]) {
    const { layer, a } = simple(reverse);
    const line = lineOf(
      "a_h",
      inside,
      [product("x", "Wx"), product("h", "Wh"), name("b")],
      ["", 0, " + ", 1, " + ", 2, ""],
    );
    for (let step = 0; step < 4; step++) {
      const found = page.worked(layer, step, 1, line, [], 4);
      near(found.result, a[step][1]);
      assert.equal(found.rest, 0);
      assert.deepEqual(
        [...found.sums].map(({ terms }) => terms.length),
        [2, 3],
      );
      near(found.sums.reduce((s, { total }) => s + total, 0) + page.read(layer.weights.b)[1], a[step][1]);
      assert.match(found.numbers, /\d\)? \+ \(?[−\d]/);
    }
    assert.equal(page.worked(layer, 2, 0, lineOf("h'", of("call", "tanh", name("a_h")), [], ["-"]), [], 4).rest, 0);
  }
});

test("what a line does not show is said", () => {
  const { layer } = simple();
  const more = of("add", of("call", "tanh", name("a_h")), of("number", 1));
  near(page.worked(layer, 2, 0, lineOf("h'", more, [], ["-"]), [], 4).rest, -1, 1e-5);
});

test("names of other lines, products with turned weights, squares and signs", () => {
  const { layer, h } = simple();
  const after = name("h'");
  const value = (shown, lines = []) => page.evaluate(layer, 2, shown, lines)[1];
  const square = lineOf("s", of("subtract", of("number", 1), of("power", after, of("number", 2))), [], []);
  near(value(of("multiply", after, name("s")), [square]), h[2][1] * (1 - h[2][1] ** 2));
  near(value(of("subtract", name("h"), after)), h[1][1] - h[2][1]);
  near(value(of("add", of("negative", after), name("h'⁺"))), h[3][1] - h[2][1]);
  assert.equal(page.evaluate(layer, 3, name("h'⁺"), [])[1], 0);
  const turned = [0, 1, 2].reduce((sum, u) => sum + h[2][u] * page.read(layer.weights.Wh)[3 + u], 0);
  near(value(of("matmul", after, of("transpose", name("Wh")))), turned);
  assert.ok(Number.isNaN(value(of("call", "strange", after))));
  assert.ok(Number.isNaN(page.evaluate(layer, 2, name("nowhere"), [])[0]));
});

test("colors: cividis grows lighter all along, and the signed ends differ", () => {
  const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const steps = [...page.TABLES.sequential].map(light);
  for (let i = 1; i < 256; i++) assert.ok(steps[i] >= steps[i - 1] - 0.5);
  const scale = page.scaleOf([-2, 1], false, false);
  assert.equal(scale.kind, "signed");
  const [negative, positive] = [page.color(-2, scale), page.color(2, scale)];
  assert.ok(negative[2] > negative[0] && positive[0] > positive[2]);
  assert.equal(page.scaleOf([0, 0.5], false, true).most, 1);
  near(page.place(1e-3, { kind: "sequential", most: 1, logarithmic: true }), 0.5);
});

test("the cursor stays on the page", () => {
  const layers = [
    {
      units: [0, 1],
      groups: [
        ["States", []],
        ["Gradients: states", []],
      ],
    },
    { units: [4], groups: [["States", []]] },
  ];
  const data = { steps: { count: 5 }, layers };
  let view = page.moved(data, {}, { step: Infinity, unit: 9, layerIndex: 0, group: 0 });
  assert.deepEqual([view.step, view.unit, view.logarithmic], [4, 1, false]);
  view = page.moved(data, view, { group: 1 });
  assert.equal(view.logarithmic, true);
  view = page.moved(data, view, { layerIndex: 1 });
  assert.deepEqual([view.unit, view.group, view.step], [0, 0, 4]);
  assert.equal(page.moved(data, view, page.KEYS.ArrowLeft(view)).step, 3);
  assert.equal(page.moved(data, view, { step: -3 }).step, 0);
});

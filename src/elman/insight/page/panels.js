// The parts of the page. Each is {root, update(view)}; `view` is where the reader is: step, unit, layer, group,
// logarithmic, digits. `page` is the data.
"use strict";

const stepName = (page, step) => page.steps.first + step;
const labelOf = (page, step) =>
  page.text ? `${stepName(page, step)} ${JSON.stringify(page.text[step])}` : `${stepName(page, step)}`;

// The text, or the series, with the cursor on a step.
function stripPanel(page, move) {
  const root = document.getElementById("strip");
  const slider = element("input", {
    type: "range",
    min: 0,
    max: page.steps.count - 1,
    "aria-label": "step",
    id: "step",
    oninput: () => move({ step: Number(slider.value) }),
  });
  const by = (change) => () => move({ step: Number(slider.value) + change });
  const shown = element("output", { id: "where", "aria-live": "polite" });
  root.append(
    element(
      "div",
      { class: "row" },
      element("button", { type: "button", onclick: by(-1), "aria-label": "one step back" }, "◀"),
      slider,
      element("button", { type: "button", onclick: by(1), "aria-label": "one step on" }, "▶"),
      shown,
    ),
  );
  let letters = [];
  let chart = null;
  if (page.text) {
    const entry = (text, step) =>
      element("li", { role: "option", onclick: () => move({ step }) }, lineEnds(text) || "·");
    letters = page.text.map(entry);
    const kind = page.text.some((text) => text.length > 1) ? "text words" : "text";
    root.append(element("ol", { class: kind, role: "listbox", "aria-label": "one entry per step" }, ...letters));
    const shade = "The shade says how much the output at the cursor hangs on each entry.";
    if (page.connectivity) root.append(element("p", { class: "hint" }, shade));
  } else if (page.x) {
    const names = page.x.names;
    const more = page.x.count > names.length ? `, the first ${names.length} of ${page.x.count} features` : "";
    chart = lineChart(
      names.map((label, k) => ({ label, values: column(page.x.array, k) })),
      {
        title: `input${more}`,
        label: `the input over ${page.steps.count} steps`,
        pick: (step) => move({ step }),
      },
    );
    root.append(chart.figure);
  }
  return ({ step, unit, layer }) => {
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${labelOf(page, step)}`);
    shown.textContent = `step ${labelOf(page, step)}, unit ${layer.units[unit]} of layer ${layer.name}`;
    chart?.mark(step);
    const row = page.connectivity && connections(page, step);
    letters.forEach((letter, s) => {
      letter.setAttribute("aria-selected", s === step);
      letter.style.setProperty("--weight", row ? place(row[s], { kind: "sequential", most: extent(row)[1] || 1 }) : 0);
    });
  };
}

// The heat maps of one group of a layer, unit x step.
function mapsPanel(page, move) {
  const root = document.getElementById("maps");
  const hint = element("output", { class: "hint" }, "Point at a map for a value, click it for a unit's curve.");
  const box = element("div", { class: "maps" });
  const curve = element("div", { id: "curve" });
  let [drawn, maps, line, lined] = ["", [], null, ""];
  const choose = (title, name, entries) => {
    const select = element(
      "select",
      { id: name, onchange: () => move({ [name]: Number(select.value) }) },
      ...entries.map((text, i) => element("option", { value: i }, text)),
    );
    return element("label", {}, `${title} `, select);
  };
  const log = element("input", { type: "checkbox", id: "log", onchange: () => move({ logarithmic: log.checked }) });
  const head = element(
    "div",
    { class: "row" },
    choose(
      "Layer",
      "layerIndex",
      page.layers.map(({ title }) => title),
    ),
  );
  const groups = element("span", {});
  head.append(groups, element("label", {}, log, " logarithmic"));
  root.append(head, hint, box, curve);
  return (view) => {
    const { layer, step, unit, group, logarithmic } = view;
    const [title, names] = layer.groups[group];
    log.checked = logarithmic;
    const key = `${layer.name} ${group} ${logarithmic}`;
    if (key !== drawn) {
      groups.replaceChildren(
        choose(
          "Shown",
          "group",
          layer.groups.map(([one]) => one),
        ),
      );
      groups.querySelector("select").value = group;
      head.querySelector("select").value = view.layerIndex;
      maps = names.map((name) => {
        const array = grouped(layer, name);
        const scale = scaleOf(read(array), logarithmic, layer.gates.includes(name));
        const [low, high] = extent(read(array));
        const size = `${array.shape[1]} units by ${array.shape[0]} steps, from ${number(low)} to ${number(high)}`;
        const label = `${name}, ${title.toLowerCase()} of layer ${layer.name}: ${size}`;
        const tell = (i, j, value) => {
          hint.textContent =
            i === undefined ? "" : `${name}, step ${labelOf(page, i)}, unit ${layer.units[j]}: ${number(value, 7)}`;
        };
        return heatMap(array, { title: name, label, scale, tell, pick: (i, j) => move({ step: i, unit: j }) });
      });
      box.replaceChildren(...maps.map(({ figure }) => figure));
      drawn = key;
    }
    if (lined !== `${key} ${unit}`) {
      const able = names.filter((name) => unit < grouped(layer, name).shape[1]);
      const series = able.map((name) => ({ label: name, values: column(grouped(layer, name), unit) }));
      line = lineChart(series, {
        title: `Unit ${layer.units[unit]}`,
        label: `unit ${layer.units[unit]} over the steps: ${able.join(", ")}`,
        pick: (i) => move({ step: i }),
      });
      curve.replaceChildren(line.figure);
      lined = `${key} ${unit}`;
    }
    maps.forEach(({ mark }) => mark(step, unit));
    line.mark(step);
  };
}

// An array of a group by its name; "Δ f" is how far f of the other network is from that of this one.
function grouped(layer, name) {
  if (!name.startsWith("Δ ")) return layer.arrays[name];
  layer.differences ??= {};
  return (layer.differences[name] ??= difference(layer.arrays[name.slice(2)], layer.other[name.slice(2)]));
}

function difference(array, other) {
  const values = read(array);
  return { shape: array.shape, values: read(other).map((value, i) => value - values[i]) };
}

// Every number of one unit at one step.
function numbersPanel(page) {
  const root = document.getElementById("numbers");
  return ({ layer, step, unit }) => {
    const names = Object.keys(layer.arrays).filter((name) => !(name.startsWith("d") && layer.arrays[name.slice(1)]));
    const cell = (array, what) => {
      const value = array && unit < array.shape[1] ? at(array, step, unit) : undefined;
      return element("td", { class: "number", "data-name": what }, number(value, 7));
    };
    const gradients = names.some((name) => layer.arrays[`d${name}`]);
    const titles = ["", "value", ...(gradients ? ["gradient"] : []), ...(layer.other ? ["other network"] : [])];
    const rows = names.map((name) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        cell(layer.arrays[name], name),
        gradients ? cell(layer.arrays[`d${name}`], `d${name}`) : null,
        layer.other ? cell(layer.other[name], `other ${name}`) : null,
      ),
    );
    root.replaceChildren(
      element(
        "table",
        {},
        element("caption", {}, `Step ${labelOf(page, step)}, unit ${layer.units[unit]} of layer ${layer.name}`),
        element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)))),
        element("tbody", {}, ...rows),
      ),
    );
  };
}

const NO_LINES = "The functions of this cell cannot be followed: the numbers above are all that it names.";
const PRIMES = "A state with a prime is that after the step, without one that before it.";
const MARKS = "above: from the layers that read this one; ⁺: from the next step, which gives it in its last lines.";

// The arithmetic of the step, symbols first, forward and backward.
function arithmeticPanel(page, move) {
  const root = document.getElementById("arithmetic");
  const digits = element(
    "select",
    { id: "digits", onchange: () => move({ digits: Number(digits.value) }) },
    ...[4, 7].map((count) => element("option", { value: count }, `${count} digits`)),
  );
  const [forward, backward] = ["forward", "backward"].map((id) => element("div", { id, class: "lines-of-step" }));
  root.append(element("div", { class: "row" }, element("h2", {}, "The step's arithmetic"), digits), forward, backward);
  const write = (box, title, hint, none, { layer, step, unit, digits: count }, lines) => {
    const shown = lines.map((line) => worked(layer, step, unit, line, lines, count)).filter(Boolean);
    const rows = [element("p", { class: "hint" }, hint), ...shown.map((line) => lineOf(line, count))];
    box.replaceChildren(element("h3", {}, title), ...(shown.length ? rows : [element("p", {}, none)]));
  };
  return (view) => {
    const { layer } = view;
    digits.value = view.digits;
    write(forward, "Forward", PRIMES, NO_LINES, view, layer.forward);
    write(backward, "Backward", MARKS, layer.noBackward, view, layer.backward);
  };
}

function lineOf({ name, symbols, numbers, result, rest, sums }, digits) {
  const products = sums.map(({ title, terms, total }) => {
    const sorted = [...terms].sort((a, b) => Math.abs(b.left * b.right) - Math.abs(a.left * a.right));
    const rows = sorted
      .slice(0, 12)
      .map(({ what, left, right }) =>
        element(
          "li",
          {},
          `${what}: ${number(left, digits)} · ${number(right, digits)} = ${number(left * right, digits)}`,
        ),
      );
    const others = sorted.slice(12).reduce((a, { left, right }) => a + left * right, 0);
    if (sorted.length > 12)
      rows.push(element("li", {}, `the other ${sorted.length - 12} together: ${number(others, digits)}`));
    return element(
      "details",
      {},
      element("summary", {}, `${title} = ${number(total, digits)}, products: ${terms.length}`),
      element("ul", {}, ...rows),
    );
  });
  const more = rest
    ? element(
        "p",
        { class: "rest" },
        `The network has ${number(rest, digits)} more: what this page or this line does not hold.`,
      )
    : null;
  return element(
    "div",
    { class: "line", "data-name": name },
    element("div", { class: "symbols" }, `${name} = ${symbols}`),
    element("div", {}, `= ${numbers}`),
    element("div", {}, "= ", element("b", { class: "result" }, number(result, digits))),
    more,
    ...products,
  );
}

// Heat maps and lines. What moves with the cursor lies over a picture, so that no picture is drawn twice.
"use strict";

// An element with attributes and children; a child that is a string is text, never markup.
function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A text in which ends of lines are seen, and one that is a space.
const lineEnds = (text) => text.replace(/\n/g, "⏎");
const visible = (text) => lineEnds(text).replace(/^\s*$/, "␣");

// Marks laid over a picture of `steps` columns and `rows` rows: a line at a column, another at a row.
function overlay() {
  const [vertical, horizontal] = ["vertical", "horizontal"].map((kind) => element("div", { class: `mark ${kind}` }));
  return {
    parts: [vertical, horizontal],
    show(step, steps, row, rows) {
      vertical.style.left = `${(100 * (step + 0.5)) / steps}%`;
      vertical.hidden = step === undefined;
      horizontal.hidden = row === undefined;
      horizontal.style.top = `${(100 * (row ?? 0)) / (rows || 1)}%`;
      horizontal.style.height = `${100 / (rows || 1)}%`;
    },
  };
}

function legend(scale) {
  const colors = TABLES[scale.kind].filter((_, i) => i % 17 === 0).map((c) => `rgb(${c.join(",")})`);
  const bar = element("span", { class: "ramp" });
  bar.style.background = `linear-gradient(90deg, ${colors.join(",")})`;
  const low = scale.kind === "signed" ? number(-scale.most, 3) : "0";
  return element("span", { class: "legend" }, low, bar, number(scale.most, 3));
}

// A heat map of an array (columns, rows): `pick(column, row)` when it is clicked, `tell(column, row, value)` under the
// pointer. Returns {figure, mark(column, row)}.
function heatMap(array, { title, label, scale, pick, tell }) {
  const [columns, rows] = array.shape;
  const canvas = element("canvas", { width: columns, height: rows, role: "img", "aria-label": label, tabindex: 0 });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(columns, rows);
  const values = read(array);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) image.data.set([...color(values[i * rows + j], scale), 255], 4 * (j * columns + i));
  }
  pen.putImageData(image, 0, 0);
  const marks = overlay();
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const along = (position, start, size, count) =>
      Math.max(0, Math.min(count - 1, Math.floor(((position - start) / size) * count)));
    return [along(event.clientX, box.left, box.width, columns), along(event.clientY, box.top, box.height, rows)];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [i, j] = where(event);
    tell(i, j, values[i * rows + j]);
  });
  canvas.addEventListener("pointerleave", () => tell());
  canvas.addEventListener("click", (event) => pick(...where(event)));
  const caption = element("figcaption", {}, element("b", {}, title), legend(scale));
  const figure = element(
    "figure",
    { class: "map" },
    caption,
    element("div", { class: "picture" }, canvas, ...marks.parts),
  );
  return { figure, mark: (i, j) => marks.show(i, columns, j, rows) };
}

// Lines over the steps: [{label, values, dashed}]; a logarithmic axis leaves out what is not over 0.
function lineChart(series, { title, label, logarithmic = false, pick }) {
  const shown = series.map(({ values }) =>
    Array.from(values, (v) => (logarithmic ? (v > 0 ? Math.log10(v) : NaN) : v)),
  );
  let [low, high] = extent(shown.flat());
  if (low === high) [low, high] = [low - 1, high + 1];
  const count = Math.max(...series.map(({ values }) => values.length));
  const svg = element("svg", {
    viewBox: `0 0 ${count} 100`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": label,
    tabindex: 0,
  });
  shown.forEach((values, k) => {
    let path = "";
    values.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      const joined = i > 0 && Number.isFinite(values[i - 1]);
      const y = (96 - (92 * (value - low)) / (high - low)).toFixed(2);
      path += `${joined ? "L" : "M"}${i + 0.5} ${y}` + (joined || Number.isFinite(values[i + 1]) ? "" : `h0.01`);
    });
    const dashes = series[k].dashed ? "5 4" : undefined;
    svg.append(element("path", { d: path, stroke: LINES[k % LINES.length], "stroke-dasharray": dashes }));
  });
  const marks = overlay();
  const picture = element("div", { class: "picture lines" }, svg, ...marks.parts);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    pick(Math.max(0, Math.min(count - 1, Math.floor(((event.clientX - box.left) / box.width) * count))));
  });
  const names = series.map(({ label: name }, k) => {
    const key = element("i", { class: series[k].dashed ? "key dashed" : "key" });
    key.style.borderColor = LINES[k % LINES.length];
    return element("span", { class: "name" }, key, name);
  });
  const bounds = [high, low].map((value) => number(logarithmic ? 10 ** value : value, 3));
  const axis = element(
    "div",
    { class: "axis", "aria-hidden": "true" },
    ...bounds.map((text) => element("span", {}, text)),
  );
  const caption = element("figcaption", {}, element("b", {}, title), ...names);
  const figure = element("figure", { class: "chart" }, caption, element("div", { class: "row" }, axis, picture));
  return { figure, mark: (step) => marks.show(step, count) };
}

// Bars beside numbers, one per row: [{label, value, marked}].
function bars(rows, most) {
  return element(
    "table",
    { class: "bars" },
    element(
      "tbody",
      {},
      ...rows.map(({ label, value, marked }) => {
        const bar = element("span", { class: "bar" });
        bar.style.width = `${Math.min(100, (100 * Math.abs(value)) / (most || 1))}%`;
        return element(
          "tr",
          marked ? { class: "marked" } : {},
          element("th", { scope: "row" }, visible(label), marked ? " ◀ came" : ""),
          element("td", { class: "number" }, number(value, 7)),
          element("td", { class: "room" }, bar),
        );
      }),
    ),
  );
}

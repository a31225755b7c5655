// What comes out: values, probabilities and the loss per step; what an output hangs on; where two networks part.
"use strict";

// How much the output at a step hangs on the input at each step: a row of the matrix, null where there is none.
function connections(page, step) {
  const { array, rows } = page.connectivity;
  const place = rows.length === 1 ? 0 : rows.indexOf(step);
  return place < 0 ? null : row(array, place);
}

// What the output offers at a step: [{label, value, marked}], probabilities the largest first.
function alternatives(output, t) {
  const { array, labels, top, came, probability } = output;
  if (!top) return Array.from(row(array, t), (value, k) => ({ label: labels[k], value, marked: false }));
  const found = top[t].map((k, j) => ({ label: labels[k], value: at(array, t, j), marked: came?.[t] === k }));
  if (came && came[t] !== null && !top[t].includes(came[t])) {
    found.push({ label: labels[came[t]], value: probability[t], marked: true });
  }
  return found;
}

// The lines over the steps: values with what came, or probabilities.
function outputLines(output, steps) {
  const { array, labels, top, target, probability } = output;
  if (top && probability) {
    const likeliest = { label: "of the likeliest", values: column(array, 0), dashed: true };
    return {
      title: "probability",
      series: [{ label: "of what came", values: probability.map((p) => p ?? NaN) }, likeliest],
    };
  }
  if (top) {
    const places = Object.keys(labels).slice(0, LINES.length).map(Number);
    const values = (k) =>
      Array.from({ length: steps }, (_, t) => (top[t].includes(k) ? at(array, t, top[t].indexOf(k)) : NaN));
    return { title: "probability", series: places.map((k) => ({ label: labels[k], values: values(k) })) };
  }
  const few = Math.min(array.shape[1], LINES.length / 2);
  const series = [];
  for (let k = 0; k < few; k++) {
    series.push({ label: labels[k], values: column(array, k) });
    if (target) series.push({ label: `${labels[k]}, what came`, values: column(target, k), dashed: true });
  }
  return { title: few < output.width ? `output, the first ${few} of ${output.width}` : "output", series };
}

function outputPanel(page, move) {
  const root = document.getElementById("output");
  const { output } = page;
  if (!output) return () => {};
  const steps = output.array.shape[0];
  const charts = [];
  const chart = (series, title) => {
    charts.push(lineChart(series, { title, label: `${title} over the steps`, pick: (step) => move({ step }) }));
    root.append(charts.at(-1).figure);
  };
  if (steps > 1) {
    const { title, series } = outputLines(output, steps);
    chart(series, title);
    const values = output.loss?.map((loss) => loss ?? NaN);
    if (values) chart([{ label: output.lossName, values }], "loss per step");
  }
  const box = element("div", { id: "alternatives" });
  root.append(box);
  const [each, whole] = output.top
    ? ["What the network expects at this step", "What the network says of the sequence"]
    : ["Output at this step", "Output of the sequence"];
  return ({ step }) => {
    const t = Math.min(step, steps - 1);
    charts.forEach(({ mark }) => mark(step));
    const rows = alternatives(output, t);
    const loss = output.loss?.[t] ?? null;
    const most = output.top ? 1 : Math.max(...rows.map(({ value }) => Math.abs(value)));
    box.replaceChildren(
      element("h3", {}, steps > 1 ? each : whole),
      bars(rows, most),
      loss === null ? "" : `${output.lossName}: ${number(loss, 7)}`,
    );
  };
}

function connectivityPanel(page, move) {
  const root = document.getElementById("connectivity");
  if (!page.connectivity) {
    root.append(element("p", {}, page.noConnectivity));
    return () => {};
  }
  const { array, rows, meaning } = page.connectivity;
  const hint = element("output", { class: "hint" });
  let bar = null;
  root.append(element("p", {}, meaning));
  const box = element("div", { class: "pair" });
  let map = { mark() {} };
  if (rows.length > 1) {
    const turned = { shape: [array.shape[1], array.shape[0]], values: new Float32Array(read(array).length) };
    for (let t = 0; t < rows.length; t++)
      for (let s = 0; s < array.shape[1]; s++) turned.values[s * rows.length + t] = at(array, t, s);
    map = heatMap(turned, {
      title: "output at a step (down), input at a step (across); logarithmic",
      label: `how much each output hangs on each input: ${rows.length} outputs by ${array.shape[1]} inputs`,
      scale: { kind: "sequential", most: extent(read(array))[1] || 1, logarithmic: true },
      tell: (s, t, value) =>
        (hint.textContent =
          s === undefined
            ? ""
            : `output at step ${stepName(page, rows[t])} on input at step ${labelOf(page, s)}: ${number(value, 7)}`),
      pick: (s, t) => move({ step: rows[t] }),
    });
    box.append(map.figure);
  }
  const curve = element("div", {});
  box.append(curve);
  root.append(box, hint);
  return ({ step }) => {
    const values = connections(page, step);
    if (!values)
      return curve.replaceChildren(element("p", {}, "Of this step there is no row: every few steps have one."));
    const what = rows.length > 1 ? `the output at step ${stepName(page, step)}` : "the output of the sequence";
    bar = lineChart([{ label: "input at each step", values }], {
      title: `What ${what} hangs on`,
      label: `how much ${what} hangs on the input at each step`,
      logarithmic: true,
      pick: (s) => move({ step: s }),
    });
    curve.replaceChildren(bar.figure);
    bar.mark(step);
    map.mark(step, rows.length > 1 ? rows.indexOf(step) : undefined);
    root.dataset.row = Array.from(values.slice(0, 400), (v) => number(v, 8)).join(" ");
  };
}

function comparePanel(page, move) {
  const root = document.getElementById("compare");
  root.hidden = !page.compare;
  if (!page.compare) return () => {};
  const { words, parts, step } = page.compare;
  const go =
    step === null
      ? null
      : element("button", { type: "button", onclick: () => move({ step }) }, `Go to step ${stepName(page, step)}`);
  root.append(element("p", {}, words, " ", go));
  const chart = lineChart(
    parts.map(({ name, values }) => ({ label: name, values })),
    {
      title: "largest difference at each step (logarithmic)",
      label: "the largest difference between both networks at each step",
      logarithmic: true,
      pick: (i) => move({ step: i }),
    },
  );
  root.append(chart.figure);
  return (view) => chart.mark(view.step);
}

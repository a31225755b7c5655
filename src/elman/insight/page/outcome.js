// What comes out: values, probabilities and the loss per step; what an output hangs on; where two networks part.
"use strict";

// How much the output at a step hangs on the input at each step: a row of the matrix, null where there is none.
function connections(page, step) {
  const { array, rows } = page.connectivity;
  const place = rows.length === 1 ? 0 : rows.indexOf(step);
  return place < 0 ? null : row(array, place);
}

function outputPanel(page, move) {
  const root = document.getElementById("output");
  const { output } = page;
  if (!output) return () => {};
  const { array, labels, kind, target, loss } = output;
  const [steps, width] = array.shape;
  const pick = (step) => move({ step });
  const charts = [];
  const few = Math.min(width, LINES.length / 2);
  const chart = (series, title, label) => {
    const made = lineChart(series, { title, label, pick });
    charts.push(made);
    root.append(made.figure);
  };
  const probabilities = kind === "values" ? null : Array.from({ length: steps }, (_, t) => (kind === "logits" ? softmax(row(array, t)) : Array.from(row(array, t))));
  if (steps > 1 && kind === "values") {
    const series = [];
    for (let k = 0; k < few; k++) {
      series.push({ label: labels[k], values: column(array, k) });
      if (target?.shape) series.push({ label: `${labels[k]}, what came`, values: column(target, k), dashed: true });
    }
    chart(series, `output${few < width ? `, the first ${few} of ${width}` : ""}`, "the output over the steps");
  }
  if (steps > 1 && probabilities && Array.isArray(target)) {
    const came = target.map((k, t) => (k === null ? NaN : probabilities[t][k]));
    chart([{ label: "of what came", values: came }, { label: "of the likeliest", values: probabilities.map((p) => Math.max(...p)), dashed: true }],
      "probability", "the probability of what came, over the steps");
  } else if (steps > 1 && probabilities) {
    chart(labels.slice(0, LINES.length).map((label, k) => ({ label, values: probabilities.map((p) => p[k]) })), "probability", "probabilities over the steps");
  }
  if (loss && loss.length > 1) chart([{ label: output.lossName, values: loss.map((v) => v ?? NaN) }], "loss per step", "the loss over the steps");
  const box = element("div", { id: "alternatives" });
  root.append(box);
  return ({ step }) => {
    const t = Math.min(step, steps - 1);
    charts.forEach(({ mark }) => mark(step));
    const values = probabilities?.[t] ?? Array.from(row(array, t));
    const came = Array.isArray(target) ? target[t] : null;
    let order = values.map((_, k) => k);
    if (probabilities) order.sort((a, b) => values[b] - values[a]);
    order = order.slice(0, 10);
    if (came !== null && !order.includes(came)) order.push(came);
    const title = probabilities ? (steps > 1 ? "What the network expects after this step" : "What the network says of the sequence") : steps > 1 ? "Output at this step" : "Output of the sequence";
    const words = loss?.[t] === null || loss?.[t] === undefined ? "" : `${output.lossName}: ${number(loss[t], 7)}`;
    box.replaceChildren(element("h3", {}, title), bars(order.map((k) => ({ label: labels[k], value: values[k], marked: k === came })), probabilities ? 1 : Math.max(...values.map(Math.abs))), words);
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
    for (let t = 0; t < rows.length; t++) for (let s = 0; s < array.shape[1]; s++) turned.values[s * rows.length + t] = at(array, t, s);
    map = heatMap(turned, {
      title: "output at a step (down), input at a step (across); logarithmic",
      label: `how much each output hangs on each input: ${rows.length} outputs by ${array.shape[1]} inputs`,
      scale: { kind: "sequential", most: extent(read(array))[1] || 1, logarithmic: true },
      tell: (s, t, value) => (hint.textContent = s === undefined ? "" : `output at step ${stepName(page, rows[t])} on input at step ${labelOf(page, s)}: ${number(value, 7)}`),
      pick: (s, t) => move({ step: rows[t] }),
    });
    box.append(map.figure);
  }
  const curve = element("div", {});
  box.append(curve);
  root.append(box, hint);
  return ({ step }) => {
    const values = connections(page, step);
    if (!values) return curve.replaceChildren(element("p", {}, "Of this step there is no row: every few steps have one."));
    const what = rows.length > 1 ? `the output at step ${stepName(page, step)}` : "the output of the sequence";
    bar = lineChart([{ label: "input at each step", values }], {
      title: `What ${what} hangs on`, label: `how much ${what} hangs on the input at each step`, logarithmic: true, pick: (s) => move({ step: s }),
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
  const go = step === null ? null : element("button", { type: "button", onclick: () => move({ step }) }, `Go to step ${stepName(page, step)}`);
  root.append(element("p", {}, words, " ", go));
  const chart = lineChart(parts.map(({ name, values }) => ({ label: name, values })), {
    title: "largest difference at each step (logarithmic)", label: "the largest difference between both networks at each step",
    logarithmic: true, pick: (i) => move({ step: i }),
  });
  root.append(chart.figure);
  return (view) => chart.mark(view.step);
}

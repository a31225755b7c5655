// Where the reader is, and what moves it: buttons, maps, and the keys left, right (steps), up, down (units), Home, End.
"use strict";

// The next place from a place and wished changes, kept within the page.
function moved(page, view, changes) {
  const next = { ...view, ...changes };
  next.step = Math.max(0, Math.min(page.steps.count - 1, next.step));
  next.layerIndex = Math.max(0, Math.min(page.layers.length - 1, next.layerIndex));
  next.layer = page.layers[next.layerIndex];
  if (next.layer !== view.layer) next.group = 0;
  next.unit = Math.max(0, Math.min(next.layer.units.length - 1, next.unit));
  if (next.group !== view.group || next.layer !== view.layer) {
    next.logarithmic = next.layer.groups[next.group][0].startsWith("Gradients");
  }
  return next;
}

const KEYS = {
  ArrowLeft: ({ step }) => ({ step: step - 1 }),
  ArrowRight: ({ step }) => ({ step: step + 1 }),
  ArrowUp: ({ unit }) => ({ unit: unit - 1 }),
  ArrowDown: ({ unit }) => ({ unit: unit + 1 }),
  Home: () => ({ step: 0 }),
  End: () => ({ step: Infinity }),
};

function start() {
  const page = JSON.parse(document.getElementById("data").textContent);
  page.layers.forEach((layer) => (layer.steps = page.steps.count));
  document.title = page.title;
  document.getElementById("title").textContent = page.title;
  document.getElementById("about").textContent = page.about;
  document.getElementById("words").append(...page.words.map((words) => element("li", {}, words)));
  const losses = page.output?.loss ?? [];
  const last = losses.length === page.steps.count ? losses.findLastIndex((loss) => loss !== null) : -1;
  let view = moved(page, {}, { step: last < 0 ? Infinity : last, unit: 0, layerIndex: 0, group: 0, digits: 4 });
  const move = (changes) => {
    view = moved(page, view, changes);
    updates.forEach((update) => update(view));
  };
  const panels = [stripPanel, mapsPanel, numbersPanel, arithmeticPanel, outputPanel, connectivityPanel, comparePanel];
  const updates = panels.map((panel) => panel(page, move));
  document.addEventListener("keydown", (event) => {
    const busy =
      event.target.closest("select, input:not([type=range])") || event.altKey || event.ctrlKey || event.metaKey;
    if (!KEYS[event.key] || busy) return;
    event.preventDefault();
    move(KEYS[event.key](view));
  });
  move({});
  document.body.dataset.ready = "yes";
}

if (typeof document !== "undefined") start();

// Colors that stay apart for all kinds of color vision: cividis for what begins at 0 (Nuñez et al. 2018),
// blue to orange around white for what has a sign.
"use strict";

const CIVIDIS = "#00224e #123570 #3b496c #575d6d #707173 #8a8678 #a59c74 #c3b369 #e1cc55 #fee838".split(" ");
const SIGNED = ["#053a73", "#1f6bb0", "#5fa2d4", "#aacfe8", "#f4f3f0", "#f7c894", "#ec8f3c", "#bd5b0c", "#7a3403"];
// Okabe, Ito 2008.
const LINES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8f7a00", "#777777"];
const DECADES = 6; // of a logarithmic scale

function channels(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// A table of 256 colors through the given ones.
function table(colors) {
  const points = colors.map(channels);
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (points.length - 1);
    const low = Math.min(Math.floor(place), points.length - 2);
    return points[low].map((value, k) => Math.round(value + (place - low) * (points[low + 1][k] - value)));
  });
}

const TABLES = { sequential: table(CIVIDIS), signed: table(SIGNED) };

// How values become colors: {kind, most, logarithmic}; `most` stands at the end of the scale.
function scaleOf(values, logarithmic, gate) {
  const [low, high] = extent(values);
  const sequential = gate ? low >= 0 && high <= 1 : low >= 0;
  const most = gate && sequential ? 1 : Math.max(Math.abs(low), Math.abs(high)) || 1;
  return { kind: sequential ? "sequential" : "signed", most, logarithmic };
}

// The place of a value from 0 to 1 along its scale.
function place(value, scale) {
  let size = Math.min(Math.abs(value) / scale.most, 1);
  if (scale.logarithmic) size = size > 0 ? Math.max(1 + Math.log10(size) / DECADES, 0) : 0;
  return scale.kind === "sequential" ? size : 0.5 + 0.5 * Math.sign(value) * size;
}

function color(value, scale) {
  if (!Number.isFinite(value)) return [200, 0, 90];
  return TABLES[scale.kind][Math.round(255 * place(value, scale))];
}

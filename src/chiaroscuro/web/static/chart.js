// The insertion and deletion curves.

import { shape } from "./dom.js";

const WIDTH = 320, HEIGHT = 170, LEFT = 30, BOTTOM = 26, TOP = 10, RIGHT = 10;
const TICKS = [0.01, 0.05, 0.2, 0.5, 1];

// Most happens within the first few percent: the middle of the slider and of the axis is a quarter.
export const shareOf = (slider) => (slider / 100) ** 2;
const xOf = (share) => LEFT + Math.sqrt(share) * (WIDTH - LEFT - RIGHT);
const yOf = (value) => HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP);

export function drawChart(svg, curves, share) {
  svg.replaceChildren(
    shape("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: yOf(0), y2: yOf(0) }),
    shape("line", { class: "axis", x1: LEFT, x2: LEFT, y1: yOf(0), y2: yOf(1) }),
    ...TICKS.map((tick) => shape("text", { x: xOf(tick), y: HEIGHT - 10, "text-anchor": tick === 1 ? "end" : "middle" }, `${100 * tick} %`)),
    ...[0, 1].map((value) => shape("text", { x: LEFT - 6, y: yOf(value) + 4, "text-anchor": "end" }, String(value))),
    ...Object.entries(curves).flatMap(([direction, curve]) => lineOf(direction, curve)),
    shape("line", { class: "now", y1: yOf(0), y2: yOf(1) }),
  );
  setShare(svg, share);
  svg.removeAttribute("hidden"); // SVG elements have no such property
}

function lineOf(direction, { fraction, similarity }) {
  const points = fraction.map((share, i) => `${xOf(share)},${yOf(similarity[i])}`);
  const middle = Math.floor(fraction.length / 2);
  const y = yOf(similarity[middle]) + (similarity[middle] > 0.5 ? 16 : -8);
  const word = direction === "insertion" ? "shown" : "hidden";
  return [
    shape("polyline", { class: direction, points: points.join(" ") }),
    shape("text", { class: `${direction}-word`, x: xOf(fraction[middle]), y, "text-anchor": "middle" }, word),
  ];
}

/** Move the vertical line to a share of the painting. */
export function setShare(svg, share) {
  const line = svg.querySelector(".now");
  for (const key of ["x1", "x2"]) line?.setAttribute(key, xOf(share));
}

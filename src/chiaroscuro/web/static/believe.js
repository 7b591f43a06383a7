// Insertion and deletion, to be watched: the painting changes, and the detector answers to it.

import * as api from "./api.js";

const WIDTH = 320, HEIGHT = 170, LEFT = 30, BOTTOM = 26, TOP = 10, RIGHT = 10;
const SVG = "http://www.w3.org/2000/svg";

// Most happens within the first percents: the slider's middle is a quarter.
export const shareOf = (slider) => (slider / 100) ** 2;
const xOf = (share) => LEFT + Math.sqrt(share) * (WIDTH - LEFT - RIGHT);
const yOf = (value) => HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP);

export function drawChart(svg, curves) {
  svg.replaceChildren();
  const add = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    svg.append(element);
    return element;
  };
  add("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: yOf(0), y2: yOf(0) });
  add("line", { class: "axis", x1: LEFT, x2: LEFT, y1: yOf(0), y2: yOf(1) });
  for (const share of [0.01, 0.05, 0.2, 0.5, 1]) {
    add("text", { x: xOf(share), y: HEIGHT - 10, "text-anchor": share === 1 ? "end" : "middle" }, `${100 * share} %`);
  }
  for (const value of [0, 1]) add("text", { x: LEFT - 6, y: yOf(value) + 4, "text-anchor": "end" }, String(value));
  for (const [direction, curve] of Object.entries(curves)) {
    const points = curve.fraction.map((share, i) => `${xOf(share)},${yOf(curve.similarity[i])}`);
    add("polyline", { class: direction, points: points.join(" ") });
    const middle = Math.floor(curve.fraction.length / 2);
    const word = direction === "insertion" ? "shown" : "hidden";
    const up = curve.similarity[middle] > 0.5 ? 16 : -8;
    add("text", { class: `${direction}-word`, x: xOf(curve.fraction[middle]), y: yOf(curve.similarity[middle]) + up, "text-anchor": "middle" }, word);
  }
  add("line", { class: "now", x1: LEFT, x2: LEFT, y1: yOf(0), y2: yOf(1) });
  svg.removeAttribute("hidden"); // SVG has no such property
}

export function markNow(svg, share) {
  const line = svg.querySelector(".now");
  for (const key of ["x1", "x2"]) line?.setAttribute(key, xOf(share));
}

// Asks for one changed painting at a time; of all that were wished meanwhile, only the last.
export class Changing {
  constructor(show, tell) {
    this.show = show;
    this.tell = tell;
    this.wish = null;
    this.busy = false;
  }

  async to(wish) {
    this.wish = wish;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.wish) {
        const now = this.wish;
        this.wish = null;
        await this.#ask(now);
      }
    } finally {
      this.busy = false;
    }
  }

  async #ask({ picture, detector, target, direction, share }) {
    const address = api.layerAddress(picture, "changed.jpg", target, { detector, direction, share });
    try {
      const [answer] = await Promise.all([
        api.live(picture, { detector, target, direction, share }),
        this.show(address),
      ]);
      this.tell(answer, { direction, share });
    } catch (error) {
      this.tell(null, { direction, share, error });
    }
  }
}

// Drawing a box over a painting, by pointer or keyboard.

import { shape } from "./dom.js";

export class Drawing {
  /** Calls `done` with the box in the painting's pixels, or with null if drawing was cancelled. */
  constructor(frame, svg, { width, height }, done) {
    Object.assign(this, { frame, svg, width, height, done, box: null, from: null });
    this.outline = shape("rect", { class: "outline" });
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    svg.addEventListener("pointerup", () => this.from && this.#finish(this.box));
    svg.addEventListener("pointercancel", () => this.stop());
    svg.addEventListener("keydown", (event) => this.#key(event));
  }

  start() {
    const { width, height } = this;
    const half = Math.min(width, height) / 12;
    this.frame.classList.add("drawing");
    this.svg.setAttribute("tabindex", "0");
    this.svg.append(this.outline);
    this.#show([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half]);
    this.svg.focus({ preventScroll: true });
  }

  stop() {
    this.frame.classList.remove("drawing");
    this.svg.removeAttribute("tabindex");
    this.outline.remove();
    this.box = this.from = null;
  }

  #show(box) {
    const [x1, y1, x2, y2] = (this.box = box);
    const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    for (const [key, value] of Object.entries(place)) this.outline.setAttribute(key, value);
  }

  #finish(box) {
    this.stop();
    this.done(box);
  }

  #point(event) {
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    const clamp = (share) => Math.min(Math.max(share, 0), 1);
    return [this.width * clamp((event.clientX - left) / width), this.height * clamp((event.clientY - top) / height)];
  }

  #down(event) {
    if (!this.box) return;
    this.svg.setPointerCapture(event.pointerId);
    this.from = this.#point(event);
    this.#show([...this.from, ...this.from]);
  }

  #move(event) {
    if (!this.from) return;
    const [x, y] = this.#point(event);
    const [a, b] = this.from;
    this.#show([Math.min(a, x), Math.min(b, y), Math.max(a, x), Math.max(b, y)]);
  }

  #key(event) {
    if (!this.box) return;
    const step = Math.max(2, this.width / 100);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      event.preventDefault();
      const [dx, dy] = moves[event.key];
      const [x1, y1, x2, y2] = this.box;
      this.#show(event.shiftKey
        ? [x1, y1, Math.max(x1 + 4, x2 + dx), Math.max(y1 + 4, y2 + dy)]
        : [x1 + dx, y1 + dy, x2 + dx, y2 + dy]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#finish(this.box);
    } else if (event.key === "Escape") {
      this.#finish(null);
    }
  }
}

// A painting with its boxes: faces that can be clicked, a box that can be drawn, a map over it all.

import { fixed } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export const sameTarget = (a, b) =>
  Boolean(a && b) && a.box.every((value, i) => Math.abs(value - b.box[i]) < 0.01);

export class Stage {
  // `choose(target)` is called with a face or drawn box that is clicked, `drawn(box)` with a new box.
  constructor(picture, caption, { choose, drawn }) {
    this.picture = picture;
    this.choose = choose;
    this.drawn = drawn;
    this.root = document.createElement("figure");
    this.root.className = "stage";
    this.frame = document.createElement("div");
    this.frame.className = "frame";
    // no taller than the window: as wide as the painting's shape then allows
    this.frame.style.maxWidth = `calc(86vh * ${picture.width / picture.height})`;
    this.painting = new Image(picture.width, picture.height);
    this.painting.alt = picture.title;
    this.painting.draggable = false;
    this.map = new Image();
    this.map.className = "map";
    this.map.alt = "";
    this.map.hidden = true;
    this.svg = shape("svg", {
      viewBox: `0 0 ${picture.width} ${picture.height}`,
      preserveAspectRatio: "none",
      role: "group",
      "aria-label": "Faces",
    });
    this.caption = document.createElement("figcaption");
    this.caption.textContent = caption;
    this.frame.append(this.painting, this.map, this.svg);
    this.legend = document.createElement("div");
    this.legend.className = "legend quiet";
    this.legend.hidden = true;
    this.root.append(this.frame, this.caption, this.legend);
    this.sketch = null;
    this.svg.addEventListener("pointerdown", (event) => this.#down(event));
    this.svg.addEventListener("pointermove", (event) => this.#move(event));
    this.svg.addEventListener("pointerup", (event) => this.#up(event));
    this.svg.addEventListener("pointercancel", () => this.stopDrawing());
    this.svg.addEventListener("keydown", (event) => this.#key(event));
  }

  // Pictures are swapped only once they are decoded, so that nothing flickers; the latest wins.
  async show(image, address, alt = "") {
    this[image].dataset.wanted = address ?? "";
    if (address) {
      const next = new Image();
      next.src = address;
      try {
        await next.decode();
      } catch {
        return false;
      }
      if (this[image].dataset.wanted !== address) return false;
      this[image].src = address;
    }
    this[image].hidden = !address;
    if (image === "map") this[image].alt = alt;
    return true;
  }

  // The map's scale: its colours, its numbers with their unit, and what it says in words.
  explain(legend) {
    this.legend.hidden = !legend;
    if (!legend) return;
    const text = (name, words) => {
      const element = document.createElement(name);
      element.textContent = words;
      return element;
    };
    const parts = [text("span", legend.words)];
    if (!legend.blank) {
      const strip = text("span", "");
      strip.className = "strip";
      const colours = text("i", "");
      colours.style.background = legend.gradient;
      colours.style.opacity = this.map.style.opacity;
      strip.append(colours);
      if (legend.zero > 0 && legend.zero < 100) {
        const zero = text("u", "0");
        zero.style.left = `${legend.zero}%`;
        strip.append(zero);
      }
      const scale = text("div", "");
      scale.className = "scale";
      scale.append(text("span", legend.low_text), strip, text("span", legend.high_text));
      parts.unshift(scale);
      if (legend.unit) parts.push(text("span", ` Numbers: ${legend.unit}.`));
    }
    this.legend.replaceChildren(...parts);
  }

  setOpacity(opacity) {
    this.map.style.opacity = opacity;
    const colours = this.legend.querySelector("i");
    if (colours) colours.style.opacity = opacity;
  }

  setBoxes(targets, active) {
    const focused = document.activeElement?.dataset?.number;
    this.svg.querySelectorAll(".face").forEach((face) => face.remove());
    const size = (13 * this.picture.width) / (this.frame.clientWidth || this.picture.width); // 13 px
    targets.forEach((target, i) => {
      const [x1, y1, x2, y2] = target.box;
      const drawn = target.origin === "drawn";
      const score = target.score == null ? "" : `, score ${fixed(target.score, 2)}`;
      const face = shape("g", {
        class: `face${drawn ? " drawn" : ""}`,
        tabindex: 0,
        role: "button",
        "aria-pressed": sameTarget(target, active),
        "aria-label": `${drawn ? "drawn box" : "face"} ${i + 1}${score}`,
        "data-number": i,
      });
      const where = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      face.append(shape("rect", { ...where, class: "rim" }), shape("rect", { ...where, class: "line" }));
      const title = shape("title", {});
      title.textContent = face.getAttribute("aria-label");
      face.append(title);
      if (target.score != null) {
        const text = shape("text", { x: x1, y: y1 - size / 3, "font-size": size });
        text.textContent = fixed(target.score, 2);
        face.append(text);
      }
      face.addEventListener("click", () => this.choose(target));
      face.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.choose(target);
        }
      });
      this.svg.append(face);
      if (focused === String(i)) face.focus();
    });
  }

  startDrawing() {
    const { width, height } = this.picture;
    const side = Math.min(width, height) / 6;
    this.frame.classList.add("drawing");
    this.svg.setAttribute("tabindex", "0");
    this.#sketch([width / 2 - side / 2, height / 2 - side / 2, width / 2 + side / 2, height / 2 + side / 2]);
    this.svg.focus({ preventScroll: true });
  }

  stopDrawing() {
    this.frame.classList.remove("drawing");
    this.svg.removeAttribute("tabindex");
    this.sketch?.element.remove();
    this.sketch = null;
    this.from = null;
  }

  get drawing() {
    return this.frame.classList.contains("drawing");
  }

  #sketch(box) {
    const element = this.sketch?.element ?? shape("rect", { class: "sketch" });
    const [x1, y1, x2, y2] = box;
    for (const [key, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) {
      element.setAttribute(key, value);
    }
    if (!element.parentNode) this.svg.append(element);
    this.sketch = { element, box };
  }

  #point(event) {
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    const clamp = (value, most) => Math.min(Math.max(value, 0), most);
    return [
      clamp(((event.clientX - left) / width) * this.picture.width, this.picture.width),
      clamp(((event.clientY - top) / height) * this.picture.height, this.picture.height),
    ];
  }

  #down(event) {
    if (!this.drawing) return;
    this.svg.setPointerCapture(event.pointerId);
    this.from = this.#point(event);
  }

  #move(event) {
    if (!this.drawing || !this.from) return;
    const [x, y] = this.#point(event);
    const [a, b] = this.from;
    this.#sketch([Math.min(a, x), Math.min(b, y), Math.max(a, x), Math.max(b, y)]);
  }

  #up() {
    if (!this.drawing || !this.from) return;
    this.from = null;
    this.#take();
  }

  #key(event) {
    if (!this.drawing || !this.sketch) return;
    const step = Math.max(2, this.picture.width / 100);
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (dx || dy) {
      event.preventDefault();
      const [x1, y1, x2, y2] = this.sketch.box;
      this.#sketch(event.shiftKey ? [x1, y1, Math.max(x1 + 4, x2 + dx), Math.max(y1 + 4, y2 + dy)] : [x1 + dx, y1 + dy, x2 + dx, y2 + dy]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#take();
    } else if (event.key === "Escape") {
      this.stopDrawing();
      this.drawn(null);
    }
  }

  #take() {
    const box = this.sketch?.box ?? [0, 0, 0, 0];
    this.stopDrawing();
    this.drawn(box);
  }
}

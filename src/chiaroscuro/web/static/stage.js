// A painting with its boxes: faces to choose, a map over them, and a legend below.

import { element, fixed, shape } from "./dom.js";
import { Drawing } from "./drawing.js";
import { legendParts } from "./legend.js";
import { sameTarget } from "./state.js";

const SCORE_PX = 13;

export class Stage {
  // `choose(target)` is called with the box that is clicked, `drawn(box)` with a new box or null.
  constructor(picture, caption, { choose, drawn }) {
    const { width, height, title } = picture;
    this.picture = picture;
    this.choose = choose;
    this.painting = element("img", { width, height, alt: title, draggable: false });
    this.map = element("img", { className: "map", alt: "", hidden: true });
    this.svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "group", "aria-label": "Faces" });
    this.frame = element("div", { className: "frame" }, this.painting, this.map, this.svg);
    this.frame.style.maxWidth = `calc(86vh * ${width / height})`; // no taller than the window
    this.legend = element("div", { className: "legend quiet", hidden: true });
    this.root = element("figure", { className: "stage" }, this.frame, element("figcaption", {}, caption), this.legend);
    this.drawing = new Drawing(this.frame, this.svg, picture, drawn);
  }

  // Pictures are swapped only once they are decoded, so that nothing flickers; the latest wins.
  async show(image, address, alt = "") {
    this[image].dataset.wanted = address ?? "";
    if (address) {
      const next = element("img", { src: address });
      try {
        await next.decode();
      } catch {
        if (this[image].dataset.wanted === address) this[image].dataset.wanted = "";
        return false;
      }
      if (this[image].dataset.wanted !== address) return false;
      this[image].src = address;
    }
    this[image].hidden = !address;
    if (image === "map") this[image].alt = alt;
    return true;
  }

  hideMap() {
    this.show("map", null);
    this.explain(null);
  }

  explain(legend) {
    this.legend.hidden = !legend;
    if (legend) this.legend.replaceChildren(...legendParts(legend, this.map.style.opacity));
  }

  setOpacity(opacity) {
    this.map.style.opacity = opacity;
    const colours = this.legend.querySelector("i");
    if (colours) colours.style.opacity = opacity;
  }

  setBoxes(targets, active) {
    const focused = document.activeElement?.dataset?.number;
    this.svg.querySelectorAll(".face").forEach((face) => face.remove());
    targets.forEach((target, i) => {
      const face = this.#face(target, i, sameTarget(target, active));
      this.svg.append(face);
      if (focused === String(i)) face.focus();
    });
  }

  #face(target, number, pressed) {
    const [x1, y1, x2, y2] = target.box;
    const drawn = target.origin === "drawn";
    const score = target.score == null ? "" : fixed(target.score, 2);
    const label = `${drawn ? "drawn box" : "face"} ${number + 1}${score && `, score ${score}`}`;
    const face = shape("g", {
      class: `face${drawn ? " drawn" : ""}`,
      tabindex: 0,
      role: "button",
      "aria-pressed": pressed,
      "aria-label": label,
      "data-number": number,
    });
    const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    face.append(shape("rect", { ...place, class: "rim" }), shape("rect", { ...place, class: "line" }), shape("title", {}, label));
    if (score) {
      const size = (SCORE_PX * this.picture.width) / (this.frame.clientWidth || this.picture.width);
      face.append(shape("text", { x: x1, y: y1 - size / 3, "font-size": size }, score));
    }
    face.addEventListener("click", () => this.choose(target));
    face.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.choose(target);
    });
    return face;
  }
}

// The legend of a map: its colours, numbers with their unit, and meaning in words.

import { element } from "./dom.js";

export function legendParts(legend, opacity) {
  const parts = [element("span", {}, legend.words)];
  if (legend.blank) return parts;
  const colours = element("i");
  colours.style.background = legend.gradient;
  colours.style.opacity = opacity;
  const strip = element("span", { className: "strip" }, colours);
  if (legend.zero > 0 && legend.zero < 100) {
    const zero = element("u", {}, "0");
    zero.style.left = `${legend.zero}%`;
    strip.append(zero);
  }
  parts.unshift(element("div", { className: "scale" }, element("span", {}, legend.low_text), strip, element("span", {}, legend.high_text)));
  if (legend.unit) parts.push(element("span", {}, ` Numbers: ${legend.unit}.`));
  return parts;
}

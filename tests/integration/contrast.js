// The visible text of a page with its contrast ratio (WCAG 2.2, criterion 1.4.3).
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, bottom) => top.rgb.map((value, i) => top.a * value + (1 - top.a) * bottom[i]);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const backgroundOf = (element) => {
    if (!element) return [255, 255, 255];
    const style = getComputedStyle(element);
    if (style.backgroundImage !== "none") throw new Error(`background image under text: ${element.outerHTML.slice(0, 80)}`);
    const own = parse(style.backgroundColor);
    return own.a === 1 ? own.rgb : over(own, backgroundOf(element.parentElement));
  };
  const opacityOf = (element) => (element ? Number(getComputedStyle(element).opacity) * opacityOf(element.parentElement) : 1);
  const measured = (element, text) => {
    const style = getComputedStyle(element);
    const svg = element instanceof SVGElement;
    const outlined = svg && style.stroke !== "none"; // text in a rim of its own
    const background = outlined ? parse(style.stroke).rgb : backgroundOf(element);
    const colour = parse(svg ? style.fill : style.color);
    colour.a *= opacityOf(element);
    return { text: text.trim().slice(0, 40), ratio: ratio(over(colour, background), background) };
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("select") || element.localName === "title") continue;
    if (element.checkVisibility({ visibilityProperty: true })) found.push(measured(element, walker.currentNode.data));
  }
  for (const control of document.querySelectorAll("select, input[type=password]")) {
    if (control.checkVisibility()) found.push(measured(control, control.id || control.name));
  }
  return found;
}

// A run folder of `study`: hits, false alarms and misses, to be browsed.

import * as api from "./api.js";
import { fixed } from "./figures.js";

const AT_ONCE = 48;
const WORDS = { hit: "faces found", "false alarm": "false alarms", missed: "missed faces", unmarked: "found, unmarked" };
const byId = (id) => document.getElementById(id);

export function setUpStudy(runs, fail) {
  const choice = byId("run");
  for (const one of runs) choice.add(new Option(`${one.name} (${one.detector}, ${one.pictures} paintings)`, one.run));
  let rows = [], shown = 0, kind = null;

  async function open() {
    try {
      rows = (await api.run(choice.value)).targets;
    } catch (error) {
      fail(error);
      return;
    }
    const kinds = [...new Set(rows.map((row) => row.kind))];
    byId("kinds").replaceChildren(...kinds.map((one) => {
      const button = document.createElement("button");
      button.textContent = `${WORDS[one] ?? one} (${rows.filter((row) => row.kind === one).length})`;
      button.dataset.kind = one;
      button.addEventListener("click", () => show(one));
      return button;
    }));
    show(kinds.find((one) => one !== "hit") ?? kinds[0]);
  }

  function show(wanted) {
    kind = wanted;
    shown = 0;
    byId("cards").replaceChildren();
    for (const button of byId("kinds").children) button.setAttribute("aria-pressed", button.dataset.kind === kind);
    more();
  }

  function more() {
    const some = rows.filter((row) => row.kind === kind).sort((a, b) => (b.score ?? 0) - (a.score ?? 0));
    const next = some.slice(shown, shown + AT_ONCE);
    shown += next.length;
    byId("cards").append(...next.map(card));
    byId("counts").textContent = some.length ? `${shown} of ${some.length}, the highest score first` : "none";
    byId("more").hidden = shown >= some.length;
  }

  function card(row) {
    const figure = document.createElement("figure");
    figure.className = "card";
    const image = new Image();
    image.loading = "lazy";
    image.src = `/api/runs/${choice.value}/${encodeURIComponent(row.picture)}/${row.target}.jpg`;
    image.alt = `${row.title}: the map of ${row.kind}`;
    const text = document.createElement("figcaption");
    const title = document.createElement("b");
    title.textContent = row.title;
    const score = row.score == null ? "not reported" : `score ${fixed(row.score, 2)}`;
    const inBox = row.in_box == null ? "" : `, ${Math.round(100 * row.in_box)} % of the evidence in the box`;
    const said = document.createElement("div");
    said.textContent = `${[score, row.trust].filter(Boolean).join(", ")}${inBox}.`;
    text.append(title, said);
    if (row.why) {
      const why = document.createElement("div");
      why.className = "quiet";
      why.textContent = row.why;
      text.append(why);
    }
    figure.append(image, text);
    return figure;
  }

  choice.addEventListener("change", open);
  byId("more").addEventListener("click", more);
  return open;
}

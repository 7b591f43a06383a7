// Study: the targets of a run folder, to browse.

import * as api from "./api.js";
import { byId, element, fixed } from "./dom.js";
import { attempt } from "./messages.js";

const AT_ONCE = 48;
const HEADINGS = { hit: "Found faces", "false positive": "False positives", missed: "Missed faces", found: "Found, not annotated" };
const headingOf = (kind) => HEADINGS[kind] ?? kind;

let rows = [], shown = 0, kind = null;

async function open() {
  const table = await attempt(() => api.run(byId("run").value));
  if (!table) return;
  rows = table.targets;
  const kinds = [...new Set(rows.map((row) => row.kind))];
  byId("kinds").replaceChildren(...kinds.map((one) => {
    const count = rows.filter((row) => row.kind === one).length;
    const button = element("button", {}, `${headingOf(one)} (${count})`);
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
  showMore();
}

function showMore() {
  const some = rows.filter((row) => row.kind === kind).sort((a, b) => (b.score ?? 0) - (a.score ?? 0));
  const next = some.slice(shown, shown + AT_ONCE);
  shown += next.length;
  byId("cards").append(...next.map(card));
  byId("counts").textContent = some.length ? `${shown} of ${some.length}, highest score first` : "This run has no targets.";
  byId("more").hidden = shown >= some.length;
}

function card(row) {
  const src = `/api/runs/${byId("run").value}/${encodeURIComponent(row.picture)}/${row.target}.jpg`;
  const alt = `${row.title}: map of a target, ${headingOf(row.kind).toLowerCase()}`;
  const score = row.score == null ? "not reported" : `score ${fixed(row.score, 2)}`;
  const inBox = row.in_box == null ? "" : `${Math.round(100 * row.in_box)} % of the evidence in the box`;
  const words = [score, row.trust, inBox].filter(Boolean).join(", ");
  return element("figure", { className: "card" },
    element("img", { loading: "lazy", src, alt }),
    element("figcaption", {},
      element("b", {}, row.title),
      element("div", {}, `${words}.`),
      ...(row.why ? [element("div", { className: "quiet" }, row.why)] : [])));
}

/** Offer the runs; the first is opened when the view is first shown. */
export function setUpStudy(runs) {
  for (const one of runs) byId("run").add(new Option(`${one.name} (${one.detector}, ${one.pictures} paintings)`, one.run));
  byId("run").addEventListener("change", open);
  byId("more").addEventListener("click", showMore);
  byId("views").hidden = !runs.length;
  const view = (study) => {
    byId("explain").hidden = study;
    byId("study").hidden = !study;
    byId("show-explain").setAttribute("aria-pressed", String(!study));
    byId("show-study").setAttribute("aria-pressed", String(study));
    if (study && !rows.length) open();
  };
  byId("show-explain").addEventListener("click", () => view(false));
  byId("show-study").addEventListener("click", () => view(true));
}

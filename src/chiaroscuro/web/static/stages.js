// The painting once per chosen detector, and once more for the difference of two maps.

import * as api from "./api.js";
import { chosen, nameOf } from "./detectors.js";
import { byId, percent } from "./dom.js";
import { showError } from "./messages.js";
import { Stage } from "./stage.js";
import { isTarget, state, watch } from "./state.js";

let stages = []; // in the order of `chosen()`
let difference = null;

const all = () => [...stages, ...(difference ? [difference] : [])];

export const firstStage = () => stages[0];

/** How maps are displayed. */
export const look = () => ({ colours: byId("colours").value, sign: byId("sign").value, threshold: byId("threshold").value / 100 });

/** Set up the stages of the chosen detectors. */
export function setStages(handlers) {
  const names = chosen();
  const pair = names.length === 2;
  stages = names.map((name) => new Stage(state.picture, pair ? nameOf(name) : "", handlers));
  difference = pair ? new Stage(state.picture, "Difference of the two maps", handlers) : null;
  byId("stages").className = pair ? "stages pair" : "stages";
  byId("stages").replaceChildren(...all().map((stage) => stage.root));
  for (const stage of all()) stage.show("painting", api.pictureAddress(state.picture.id));
  setOpacity();
}

/** Draw a box on the first stage, or stop drawing on all of them. */
export function setDrawing(on) {
  if (on) stages[0].drawing.start();
  else for (const stage of stages) stage.drawing.stop();
}

// Found faces, drawn boxes, and the target of another detector, without that detector's score.
function targetsOf(detector) {
  const targets = [...(state.faces[detector] ?? []), ...state.drawn];
  if (state.target && !targets.some(isTarget)) targets.push({ ...state.target, score: null });
  return targets;
}

function renderBoxes() {
  chosen().forEach((name, i) => stages[i]?.setBoxes(targetsOf(name), state.target));
  difference?.setBoxes(state.target ? [state.target] : [], state.target);
}

function renderMaps() {
  const names = chosen();
  names.forEach((name, i) => {
    const answer = state.answers[name];
    const query = answer && { detector: name, ...look(), v: answer.n_passes };
    if (stages[i]) showLayer(stages[i], "map", query, `Map of ${nameOf(name)} for the chosen box`);
  });
  if (!difference) return;
  const complete = names.every((name) => state.answers[name]) && !state.job; // both saw the same masks
  const version = names.map((name) => state.answers[name]?.n_passes).join("-");
  showLayer(difference, "difference", complete && { detectors: names.join(","), v: version }, "Difference of the two maps");
}

// A layer with its legend; neither without the other.
async function showLayer(stage, kind, query, alt) {
  if (!query) {
    stage.hideMap();
    return;
  }
  const [picture, target] = [state.picture.id, state.target];
  const address = api.layerAddress(picture, `${kind}.png`, target, query);
  if (stage.map.dataset.wanted === address) return;
  const [legend, shown] = await Promise.all([
    api.legend(picture, kind, target, query).catch(showError),
    stage.show("map", address, alt),
  ]);
  if (shown && legend) stage.explain(legend);
}

function setOpacity() {
  byId("opacity-value").textContent = percent(byId("opacity").value / 100);
  for (const stage of all()) stage.setOpacity(byId("opacity").value / 100);
}

export function setUpStages(colours) {
  for (const name of colours) byId("colours").add(new Option(name, name));
  byId("opacity").addEventListener("input", setOpacity);
  byId("threshold").addEventListener("input", () => {
    byId("threshold-value").textContent = percent(byId("threshold").value / 100);
  });
  for (const id of ["threshold", "colours", "sign"]) byId(id).addEventListener("change", renderMaps);
  watch(["faces", "drawn", "target"], renderBoxes);
  watch(["answers"], renderMaps);
}

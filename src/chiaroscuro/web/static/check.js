// Check: hide or show the strongest parts of the map, and see what the detector still finds.

import * as api from "./api.js";
import { drawChart, setShare, shareOf } from "./chart.js";
import { chosen } from "./detectors.js";
import { byId, fixed, percent } from "./dom.js";
import { showError } from "./messages.js";
import { follow, run } from "./runs.js";
import { firstStage } from "./stages.js";
import { isTarget, set, state, watch } from "./state.js";

const PLAY_TO = 60, PLAY_STEP = 3; // of the slider
const PAUSE_MS = 120;

let wanted = null; // the newest change that is not shown yet
let showing = null; // settles once nothing is wanted
let playing = false;

const share = () => shareOf(Number(byId("share").value));
const direction = () => document.querySelector("[name=direction]:checked").value;

function change() {
  byId("share-value").textContent = percent(share());
  setShare(byId("chart"), share());
  firstStage().hideMap();
  wanted = { detector: chosen()[0], target: state.target, direction: direction(), share: share() };
  showing ??= showWanted();
  return showing;
}

// One changed painting at a time; of those wanted meanwhile, only the last.
async function showWanted() {
  try {
    while (wanted) {
      const now = wanted;
      wanted = null;
      await showChange(now);
    }
  } catch (error) {
    showError(error);
  }
  showing = null;
}

async function showChange({ target, ...query }) {
  const picture = state.picture.id;
  const [answer] = await Promise.all([
    api.live(picture, { target, ...query }),
    firstStage().show("painting", api.layerAddress(picture, "changed.jpg", target, query)),
  ]);
  const strongest = `strongest ${percent(query.share)}`;
  const what = query.direction === "deletion" ? `With the ${strongest} hidden` : `With only the ${strongest} shown`;
  byId("live").textContent = `${what}: score ${fixed(answer.score, 2)}, IoU ${fixed(answer.iou, 2)} with the box.`;
}

// Back to the unchanged painting under its map.
function reset() {
  setPlaying(false);
  wanted = null;
  byId("share").value = 0;
  byId("share-value").textContent = "0 %";
  byId("live").textContent = "The painting is unchanged.";
  byId("chart").setAttribute("hidden", "");
  byId("areas").textContent = "";
  firstStage()?.show("painting", api.pictureAddress(state.picture.id));
}

function setPlaying(on) {
  playing = on;
  byId("play").textContent = on ? "Stop" : "Play";
}

async function play() {
  if (playing) {
    reset();
    set({ answers: state.answers });
    return;
  }
  const slider = byId("share");
  setPlaying(true);
  for (slider.value = 0; playing; slider.value = Number(slider.value) + PLAY_STEP) {
    await change();
    if (Number(slider.value) >= PLAY_TO) break;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  if (playing) setPlaying(false);
}

async function measure() {
  const { target } = state;
  await measured((report) => run({ kind: "curves", detector: chosen()[0], target }, report), target);
}

/** Follow a measurement that another page started. */
export function followCurves(job) {
  return measured((report) => follow(job.id, report), job.targets[0]);
}

async function measured(running, target) {
  let curves = {};
  const last = await running((now) => {
    curves = now.curves ?? curves;
  });
  if (!last) return;
  byId("pace").textContent = "";
  if (last.state !== "done" || !isTarget(target)) return;
  drawChart(byId("chart"), curves, share());
  const { insertion, deletion } = curves;
  byId("areas").textContent = `Area under the curve: insertion ${fixed(insertion.area, 3)} (higher is better), `
    + `deletion ${fixed(deletion.area, 3)} (lower is better); protocol ${insertion.protocol.name}.`;
}

export function setUpCheck() {
  byId("share").addEventListener("input", change);
  for (const one of document.querySelectorAll("[name=direction]")) one.addEventListener("change", change);
  byId("play").addEventListener("click", play);
  byId("measure").addEventListener("click", measure);
  watch(["faces", "target"], reset);
  watch(["answers", "job"], () => {
    byId("check").hidden = !state.answers[chosen()[0]];
    byId("measure").disabled = Boolean(state.job);
  });
}

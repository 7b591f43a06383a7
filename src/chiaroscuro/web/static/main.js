// The workbench: open a painting, choose detectors and a face, see the result.

import * as address from "./address.js";
import * as api from "./api.js";
import { followCurves, setUpCheck } from "./check.js";
import { setUpFiles, setUpSamples } from "./choose.js";
import { setUpDetectors } from "./detectors.js";
import { byId } from "./dom.js";
import { setUpExport } from "./export.js";
import { findFaces, setUpFaces } from "./faces.js";
import { attempt, clearError, say } from "./messages.js";
import { followResult, setUpResult } from "./result.js";
import { setUpRuns, stop } from "./runs.js";
import { setUpStages } from "./stages.js";
import { set, state } from "./state.js";
import { setUpStudy } from "./study.js";

async function open(load, title, target = null) {
  say(`Opening ${title} …`);
  const picture = await attempt(load);
  say("");
  if (!picture) return;
  await leave();
  byId("title").textContent = picture.title;
  byId("choose").hidden = true;
  byId("work").hidden = false;
  document.title = `${picture.title} · chiaroscuro`;
  set({ picture: { ...picture, id: picture.picture }, faces: {}, drawn: [], target, answers: {}, observed: new Set(picture.observed) });
  await findFaces();
  const { job } = picture;
  if (job) (job.kind === "curves" ? followCurves : followResult)(job);
}

async function leave() {
  await stop();
  set({ job: null });
}

function close() {
  leave();
  byId("work").hidden = true;
  byId("choose").hidden = false;
  byId("file").value = "";
  address.forget();
  clearError();
  say("");
}

async function reopen() {
  const recalled = address.recall();
  if (!recalled) return;
  await open(() => api.picture(recalled.picture), "the painting", recalled.target);
  if (!state.picture) address.forget();
}

async function main() {
  setUpFiles(open);
  const start = await attempt(api.start);
  if (!start) return;
  set({ limits: start.limits });
  setUpStages(start.colours);
  setUpDetectors(start.detectors, findFaces);
  setUpFaces();
  setUpRuns();
  setUpResult();
  setUpCheck();
  setUpExport();
  setUpSamples(start.samples, open);
  setUpStudy(start.runs);
  byId("another").addEventListener("click", close);
  say("");
  await reopen();
  document.body.dataset.ready = "true";
}

main();

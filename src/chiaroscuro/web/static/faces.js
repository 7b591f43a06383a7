// Faces: found by the detectors, or drawn by the user; one of them is the target.

import * as api from "./api.js";
import { chosen, nameOf } from "./detectors.js";
import { byId } from "./dom.js";
import { attempt, clearError, showError } from "./messages.js";
import { explainAtOnce } from "./result.js";
import { setDrawing, setStages } from "./stages.js";
import { set, state } from "./state.js";

const SMALLEST_PX = 4;
const plural = (count) => `${count} ${count === 1 ? "face" : "faces"} found`;

/** Find faces with the chosen detectors, and explain the target if there is evidence. */
export async function findFaces() {
  const names = chosen();
  setStages({ choose: setTarget, drawn: addBox });
  toggleDrawing(false);
  byId("found").textContent = "Finding faces …";
  const found = await attempt(async () => {
    const faces = { ...state.faces };
    for (const name of names) faces[name] ??= (await api.faces(state.picture.id, name)).faces;
    return faces;
  });
  byId("found").textContent = found ? summary(names, found) : "";
  set({ faces: found ?? state.faces });
  await explainAtOnce();
}

function summary(names, faces) {
  if (names.every((name) => !faces[name].length)) return "No face was found. Draw a box where a face should be.";
  return `${names.map((name) => `${nameOf(name)}: ${plural(faces[name].length)}`).join("; ")}. Choose one in the painting.`;
}

function setTarget(target) {
  clearError();
  set({ target, answers: {} });
  return explainAtOnce();
}

function addBox(box) {
  toggleDrawing(false);
  if (!box) return;
  const [x1, y1, x2, y2] = box;
  if (x2 - x1 < SMALLEST_PX || y2 - y1 < SMALLEST_PX) {
    showError(new Error("This box is too small. Draw a larger one."));
    return;
  }
  const target = { box, label: null, score: null, origin: "drawn" };
  set({ drawn: [...state.drawn, target] });
  setTarget(target);
}

function toggleDrawing(on) {
  byId("draw").setAttribute("aria-pressed", String(on));
  byId("draw-help").hidden = !on;
  setDrawing(on);
}

export function setUpFaces() {
  byId("draw").addEventListener("click", () => toggleDrawing(byId("draw").getAttribute("aria-pressed") !== "true"));
}

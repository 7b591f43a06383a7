// Detector: one to explain, and another to compare with.

import { byId } from "./dom.js";
import { set, watch, state } from "./state.js";

const NAMES = {
  centerface: "CenterFace",
  retinaface: "RetinaFace, photo-trained",
  "retinaface-paintings": "RetinaFace, painting-trained",
};
const MENUS = ["first", "second"];

export const nameOf = (detector) => NAMES[detector] ?? detector;

/** The chosen detectors: one, or two different ones. */
export const chosen = () => [...new Set(MENUS.map((id) => byId(id).value).filter(Boolean))];

/** Choose a detector, if the menu offers it. */
export function choose(id, detector) {
  if ([...byId(id).options].some((option) => option.value === detector && !option.disabled)) byId(id).value = detector;
}

export function setUpDetectors(detectors, changed) {
  for (const { name, summary, missing } of detectors) {
    for (const id of MENUS) {
      const option = new Option(nameOf(name), name);
      option.disabled = Boolean(missing);
      option.title = missing ?? summary;
      byId(id).add(option);
    }
  }
  byId("second").add(new Option("none", ""), 0);
  byId("second").value = "";
  byId("first").value = detectors.find((one) => !one.missing)?.name ?? "";
  for (const id of MENUS) {
    byId(id).addEventListener("change", () => {
      set({ answers: {} });
      changed();
    });
  }
  watch(["job"], () => {
    for (const id of MENUS) byId(id).disabled = Boolean(state.job);
  });
}

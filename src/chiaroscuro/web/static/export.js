// Export: files of the result to download.

import * as api from "./api.js";
import { chosen } from "./detectors.js";
import { byId, element } from "./dom.js";
import { look } from "./stages.js";
import { state, watch } from "./state.js";

const FILES = ["overlay.png", "saliency.npz", "evidence.npz", "manifest.json", "report.html", "redo.py"];

function render() {
  const explained = chosen().filter((name) => state.answers[name]);
  byId("export").hidden = !explained.length || Boolean(state.job);
  if (byId("export").hidden) return;
  byId("files").replaceChildren(...FILES.map((file) => element("a", {
    href: api.fileAddress(state.picture.id, file, explained, [state.target], look()),
    download: "",
  }, file)));
}

export function setUpExport() {
  watch(["answers", "job"], render);
  for (const id of ["threshold", "colours", "sign"]) byId(id).addEventListener("change", render);
}

// Choosing a painting: a file, or one of the samples.

import * as api from "./api.js";
import { byId, element } from "./dom.js";
import { showError } from "./messages.js";
import { state } from "./state.js";

export function setUpSamples(samples, open) {
  byId("samples").replaceChildren(...samples.map((sample) => {
    const image = element("img", { loading: "lazy", src: `/api/samples/${sample.id}.jpg`, alt: "" });
    const button = element("button", {}, image, element("span", {}, `${sample.title} · ${sample.painter}`));
    button.addEventListener("click", () => open(() => api.sample(sample.id), sample.title));
    return button;
  }));
}

export function setUpFiles(open) {
  const openFile = (file) => {
    if (!file) return;
    const limit = state.limits.upload_bytes;
    if (file.size > limit) {
      showError(new Error(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB. The limit is ${limit / 2 ** 20} MB; use a smaller copy.`));
    } else {
      open(() => api.upload(file), file.name);
    }
  };
  byId("file").addEventListener("change", (event) => openFile(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") openFile(event.dataTransfer.files[0]);
    });
  }
}

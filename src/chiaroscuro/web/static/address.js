// The page's address says what is shown, so that a reloaded page or a second tab shows the same.

import { byId } from "./dom.js";
import { choose } from "./detectors.js";
import { state, watch } from "./state.js";

export function forget() {
  history.replaceState(null, "", location.pathname);
}

function remember() {
  if (!state.picture) return;
  const words = new URLSearchParams({ picture: state.picture.id, first: byId("first").value, second: byId("second").value });
  if (state.target) words.set("target", JSON.stringify(state.target));
  history.replaceState(null, "", `#${words}`);
}

/** Choose the address's detectors; returns its picture and target, null if it has no picture. */
export function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  if (!words.has("picture")) return null;
  for (const id of ["first", "second"]) choose(id, words.get(id));
  return { picture: words.get("picture"), target: parsed(words.get("target")) };
}

function parsed(text) {
  try {
    const target = JSON.parse(text);
    return Array.isArray(target?.box) && target.box.length === 4 && target.box.every(Number.isFinite) ? target : null;
  } catch {
    return null; // an incomplete address: the painting without a target
  }
}

watch(["picture", "faces", "target"], remember);

// The status line and the error message.

import { byId } from "./dom.js";

export function say(text) {
  byId("status").textContent = text;
}

export function showError(error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
}

export function clearError() {
  byId("error").hidden = true;
}

/** The result of `work`; undefined if it fails, with its error on the page. */
export async function attempt(work) {
  clearError();
  try {
    return await work();
  } catch (error) {
    showError(error);
    return undefined;
  }
}

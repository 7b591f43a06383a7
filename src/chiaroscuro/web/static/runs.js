// The run in progress: started here or in another tab, followed until it ends.

import * as api from "./api.js";
import { nameOf } from "./detectors.js";
import { byId } from "./dom.js";
import { attempt, showError } from "./messages.js";
import { set, state, watch } from "./state.js";

/** Start a run and follow it; returns its last state, undefined if it could not start. */
export async function run(request, report) {
  const started = await attempt(() => api.begin(state.picture.id, request));
  return started && follow(started.job, report);
}

/** Follow a run; `report` gets every new state. */
export async function follow(job, report) {
  set({ job });
  const last = await api.follow(job, (now) => {
    byId("pace").textContent = pace(now);
    byId("progress").value = now.total ? now.done / now.total : 0;
    report(now);
  });
  if (state.job === job) set({ job: null });
  if (last.state === "failed") showError(new Error(last.error));
  return last;
}

export async function stop() {
  const { job } = state;
  if (job) await attempt(() => api.stop(job));
}

function pace(now) {
  if (now.lost) return "Connection lost. Reconnecting …";
  if (now.state === "queued") return now.ahead ? `In the queue: ${now.ahead} ${now.ahead === 1 ? "run" : "runs"} ahead.` : "In the queue …";
  if (!now.done) return "Starting …";
  const left = now.seconds_left == null ? "" : `, about ${Math.max(1, Math.round(now.seconds_left))} s left`;
  return `${nameOf(now.detector)}: ${now.done} of about ${now.total} passes${left}`;
}

export function setUpRuns() {
  byId("stop").addEventListener("click", stop);
  watch(["job"], () => {
    byId("stop").hidden = !state.job;
    byId("progress").hidden = !state.job;
  });
}

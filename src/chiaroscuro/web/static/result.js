// Result: what the chosen detectors rely on for the target.

import * as api from "./api.js";
import { chosen, nameOf } from "./detectors.js";
import { byId, element, fixed } from "./dom.js";
import { attempt } from "./messages.js";
import { follow, run } from "./runs.js";
import { look } from "./stages.js";
import { isTarget, set, state, watch } from "./state.js";

const whole = (share) => `${Math.round(100 * share)} %`;

/** Results from the evidence there is, without masked detector passes. */
export async function explainAtOnce() {
  const { target } = state;
  const names = chosen().filter((name) => state.observed.has(name));
  if (!target || !names.length || state.job) return;
  const results = await attempt(() => api.explain(state.picture.id, names, [target]));
  if (!results || !isTarget(target)) return;
  byId("pace").textContent = "Explained from earlier detector passes; no new ones were needed.";
  set({ answers: Object.fromEntries(names.map((name) => [name, results.answers[name][0]])) });
}

async function start() {
  if (!state.target || state.job) return;
  const { target } = state;
  const passes = byId("passes").value;
  const n_passes = passes === "auto" ? passes : Number(passes);
  const request = { kind: "explain", detectors: chosen(), targets: [target], n_passes, seed: 0 };
  ended(await run(request, reportFor(target)), target);
}

/** Follow an observation that another page started. */
export async function followResult(job) {
  const [target] = job.targets;
  ended(await follow(job.id, reportFor(target)), target);
}

const reportFor = (target) => (now) => {
  const answers = Object.entries(now.answers ?? {});
  for (const [name] of answers) state.observed.add(name);
  if (answers.length && isTarget(target)) {
    set({ answers: { ...state.answers, ...Object.fromEntries(answers.map(([name, [answer]]) => [name, answer])) } });
  }
};

function ended(last, target) {
  if (!last) return;
  if (last.state === "stopped") byId("pace").textContent = "Stopped. The result so far is kept.";
  if (last.state === "done") byId("pace").textContent = `Done: ${passes()}. The maps of other boxes need no further ones.`;
  if (isTarget(target)) set({ answers: state.answers }); // the difference waits for the end of the run
  else explainAtOnce();
}

const COARSE = "The masks' cells are larger than a quarter of this face. Where the evidence lies is stated once there is a close-up.";
const quiet = (words) => element("p", { className: "quiet" }, words);

const passes = () => Object.values(state.answers).map(cost).join("; ");

const cost = ({ n_passes, closeup }) =>
  `${n_passes} passes for the map${closeup ? `, the cost of ${Math.max(1, Math.round(closeup.cost))} for the close-up` : ""}`;

function card(name) {
  const answer = state.answers[name];
  const score = answer.reported == null ? "no face reported here" : `score ${fixed(answer.reported, 2)}`;
  return element("div", { className: "answer" },
    element("p", {}, `${nameOf(name)}: ${score}; ${answer.n_passes} passes, ${answer.trust}.`),
    ...(answer.closeup ? [closeup(name, answer)] : []),
    ...(answer.shares ? shares(answer.shares) : answer.cells_too_large ? [quiet(COARSE)] : []),
    ...answer.notes.map(quiet));
}

function closeup(name, answer) {
  const more = { detector: name, ...look(), v: answer.closeup.cost };
  const src = api.layerAddress(state.picture.id, "closeup.jpg", state.target, more);
  const words = `Close-up: ${answer.closeup_trust}.`;
  return element("figure", { className: "closeup" },
    element("img", { src, alt: words }), element("figcaption", { className: "quiet" }, words));
}

function shares({ box, ring, beyond }) {
  const words = `Evidence: ${whole(box)} in the box, ${whole(ring)} around it, ${whole(beyond)} elsewhere.`;
  const bar = element("div", { className: "shares", role: "img", ariaLabel: words });
  for (const [className, share] of [["in-box", box], ["in-ring", ring], ["beyond", beyond]]) {
    const piece = element("i", { className });
    piece.style.width = `${100 * share}%`;
    bar.append(piece);
  }
  return [bar, element("p", { className: "quiet" }, words)];
}

function render() {
  const names = chosen();
  const more = names.every((name) => state.observed.has(name));
  byId("answers").replaceChildren(...names.filter((name) => state.answers[name]).map(card));
  byId("display").hidden = !Object.keys(state.answers).length;
  byId("start").textContent = more ? moreText(names) : names.length === 2 ? "Explain both" : "Explain";
  byId("start").disabled = !state.target || Boolean(state.job);
}

// The map of another box is there at once; its close-up takes passes of its own.
const moreText = (names) =>
  names.some((name) => state.answers[name] && !state.answers[name].closeup) ? "Make close-up" : "Add passes";

export function setUpResult() {
  byId("start").addEventListener("click", start);
  watch(["faces", "target", "answers", "job"], render);
  for (const id of ["threshold", "colours", "sign"]) byId(id).addEventListener("change", render);
}

// What the page shows. A module watches the parts that it renders.

export const state = {
  limits: {},
  picture: null, // the painting that is open
  faces: {}, // found faces, by detector
  drawn: [], // boxes drawn by the user
  target: null, // the box to explain
  observed: new Set(), // detectors with evidence about this painting
  answers: {}, // results for the target, by detector
  job: null, // number of the run in progress
};

const watchers = [];

/** Call `render` whenever one of these parts changes. */
export function watch(parts, render) {
  watchers.push({ parts, render });
}

export function set(changes) {
  Object.assign(state, changes);
  for (const { parts, render } of watchers) if (parts.some((part) => part in changes)) render();
}

export const sameTarget = (a, b) =>
  Boolean(a && b) && a.box.every((value, i) => Math.abs(value - b.box[i]) < 0.01);

export const isTarget = (target) => sameTarget(target, state.target);

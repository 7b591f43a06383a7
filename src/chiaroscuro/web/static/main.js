// The workbench: which painting, who is asked, about which face; then the answer as it forms.

import * as api from "./api.js";
import { Changing, drawChart, markNow, shareOf } from "./believe.js";
import { fixed } from "./figures.js";
import { sameTarget, Stage } from "./stage.js";
import { setUpStudy } from "./study.js";

const byId = (id) => document.getElementById(id);
const NAMES = {
  centerface: "CenterFace",
  retinaface: "RetinaFace, Model1",
  "retinaface-paintings": "RetinaFace, Model3",
};
const FILES = ["overlay.png", "saliency.npz", "evidence.npz", "manifest.json", "report.html", "redo.py"];

const state = {
  picture: null, // what is on the desk
  faces: {}, // by detector
  drawn: [], // boxes that were drawn
  active: null, // the box that is asked about
  answers: {}, // by detector, of the active box
  watched: new Set(), // detectors with evidence on this painting
  job: null,
  stages: [],
  difference: null,
};

// --- what is said ---------------------------------------------------------------------------------

function say(text) {
  byId("says").textContent = text;
}

function fail(error) {
  byId("alarm").textContent = error.message;
  byId("alarm").hidden = false;
}

function calm() {
  byId("alarm").hidden = true;
}

async function trying(work) {
  calm();
  try {
    return await work();
  } catch (error) {
    fail(error);
    return undefined;
  }
}

// --- which painting -------------------------------------------------------------------------------

function setUpChoice(samples) {
  byId("samples").replaceChildren(...samples.map((sample) => {
    const button = document.createElement("button");
    const image = new Image();
    image.loading = "lazy";
    image.src = `/api/samples/${sample.id}.jpg`;
    image.alt = "";
    const text = document.createElement("span");
    text.textContent = `${sample.title} · ${sample.painter}`;
    button.append(image, text);
    button.addEventListener("click", () => open(() => api.sample(sample.id), sample.title));
    return button;
  }));
}

async function openFile(file) {
  if (!file) return;
  if (file.size > state.limits.upload_bytes) {
    fail(new Error(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB; at most ${state.limits.upload_bytes / 2 ** 20} are taken.`));
    return;
  }
  await open(() => api.upload(file), file.name);
}

async function open(bring, title, active = null) {
  say(`Opening ${title} …`);
  const picture = await trying(bring);
  say("");
  if (!picture) return;
  await endJob();
  Object.assign(state, { picture: { ...picture, id: picture.picture }, faces: {}, drawn: [], active, answers: {}, watched: new Set(picture.watched) });
  byId("title").textContent = picture.title;
  byId("choose").hidden = true;
  byId("work").hidden = false;
  document.title = `${picture.title} · chiaroscuro`;
  await look();
  if (picture.job) hear(picture.job);
}

function back() {
  endJob();
  byId("work").hidden = true;
  byId("choose").hidden = false;
  byId("file").value = "";
  history.replaceState(null, "", location.pathname);
  calm();
  say("");
}

// The address says what is shown, so that a page that is loaded again, or a second tab, goes on.
function remember() {
  if (!state.picture) return;
  const words = new URLSearchParams({ picture: state.picture.id, first: byId("first").value, second: byId("second").value });
  if (state.active) words.set("target", JSON.stringify(state.active));
  history.replaceState(null, "", `#${words}`);
}

async function goOn() {
  const words = new URLSearchParams(location.hash.slice(1));
  if (!words.has("picture")) return;
  let active = null;
  try {
    const told = JSON.parse(words.get("target"));
    if (Array.isArray(told?.box) && told.box.length === 4 && told.box.every(Number.isFinite)) active = told;
  } catch {
    // an address that was cut off: the painting alone
  }
  for (const id of ["first", "second"]) {
    const known = [...byId(id).options].some((option) => option.value === words.get(id) && !option.disabled);
    if (known) byId(id).value = words.get(id);
  }
  await open(() => api.picture(words.get("picture")), "the painting", active);
  if (!state.picture) history.replaceState(null, "", location.pathname);
}

// --- who is asked, about which face ---------------------------------------------------------------

const detectors = () => [byId("first").value, byId("second").value].filter((name, i, all) => name && all.indexOf(name) === i);

// Ask the chosen detectors for faces and set up a stage for each.
async function look() {
  const names = detectors();
  const pair = names.length === 2;
  state.stages = names.map((name) => new Stage(state.picture, pair ? NAMES[name] ?? name : "", { choose, drawn: take }));
  state.difference = pair ? new Stage(state.picture, "The difference of the two maps", { choose, drawn: take }) : null;
  const all = [...state.stages, ...(state.difference ? [state.difference] : [])];
  byId("stages").className = pair ? "stages pair" : "stages";
  byId("stages").replaceChildren(...all.map((stage) => stage.root));
  byId("draw").setAttribute("aria-pressed", "false");
  byId("draw-help").hidden = true;
  for (const stage of all) stage.show("painting", api.pictureAddress(state.picture.id));
  byId("found").textContent = "Looking for faces …";
  const seen = await trying(async () => {
    for (const name of names) state.faces[name] ??= (await api.faces(state.picture.id, name)).faces;
    return true;
  });
  const found = names.map((name) => (state.faces[name] ?? []).length);
  byId("found").textContent = !seen ? ""
    : found[0] === 0 && !pair ? "No face was found. Draw a box where one should be."
    : names.map((name, i) => `${NAMES[name] ?? name}: ${found[i]} found`).join("; ") + ". Click one.";
  drawBoxes();
  await answerAtOnce();
}

// What can be clicked on a stage: its detector's faces, the drawn boxes, and the box asked about.
function targetsOf(name) {
  const targets = [...(state.faces[name] ?? []), ...state.drawn];
  if (state.active && !targets.some((one) => sameTarget(one, state.active))) targets.push(state.active);
  return targets;
}

function drawBoxes() {
  const names = detectors();
  state.stages.forEach((stage, i) => stage.setBoxes(targetsOf(names[i]), state.active));
  state.difference?.setBoxes(state.active ? [state.active] : [], state.active);
  remember();
  controls();
}

async function choose(target) {
  calm();
  state.active = target;
  state.answers = {};
  unplay();
  drawBoxes();
  await answerAtOnce();
}

function take(box) {
  toggleDrawing(false);
  if (!box) return;
  const [x1, y1, x2, y2] = box;
  if (x2 - x1 < 4 || y2 - y1 < 4) {
    fail(new Error("That box is too small to hold a face; drag a larger one."));
    return;
  }
  const target = { box, label: null, score: null, origin: "drawn" };
  state.drawn.push(target);
  choose(target);
}

function toggleDrawing(on) {
  byId("draw").setAttribute("aria-pressed", String(on));
  byId("draw-help").hidden = !on;
  const stage = state.stages[0];
  if (on) stage.startDrawing();
  else for (const one of state.stages) one.stopDrawing();
}

// --- the answer -----------------------------------------------------------------------------------

// From the evidence there is, without asking the detector again.
async function answerAtOnce() {
  const names = detectors().filter((name) => state.watched.has(name));
  showAnswers();
  if (!state.active || !names.length || state.job) return;
  const target = state.active;
  const told = await trying(() => api.explain(state.picture.id, names, [target]));
  if (!told || !sameTarget(target, state.active)) return;
  state.answers = Object.fromEntries(Object.entries(told.answers).map(([name, [answer]]) => [name, answer]));
  byId("pace").textContent = "Answered from what was watched before: the detector was not asked again.";
  showAnswers();
}

async function start() {
  if (!state.active || state.job) return;
  const names = detectors();
  const target = state.active;
  const masks = byId("masks").value;
  const begun = await trying(() => api.begin(state.picture.id, {
    kind: "explain", detectors: names, targets: [target], n_masks: masks === "auto" ? "auto" : Number(masks), seed: 0,
  }));
  if (begun) await hear({ id: begun.job, kind: "explain", targets: [target] });
}

// Follow what runs, begun here or by another tab.
async function hear(job) {
  if (job.kind === "curves") await hearCurves(job.id, job.targets[0]);
  else await hearMaps(job.id, job.targets[0]);
}

async function hearMaps(job, target) {
  const last = await followed(job, (now) => {
    for (const [name, [answer]] of Object.entries(now.answers ?? {})) {
      state.watched.add(name);
      if (sameTarget(target, state.active)) state.answers[name] = answer;
    }
    if (sameTarget(target, state.active)) showAnswers();
  });
  if (last.state === "stopped") byId("pace").textContent = "Stopped; what there is stays.";
  else if (last.state === "done") byId("pace").textContent = `Done: ${masksSaid()}. Other boxes are answered at once now.`;
  if (!sameTarget(target, state.active)) await answerAtOnce();
  else showAnswers(); // the difference waits until both have watched as many masks
}

async function followed(job, tell) {
  state.job = job;
  controls();
  const last = await api.follow(job, (now) => {
    byId("pace").textContent = pace(now);
    byId("progress").value = now.total ? now.done / now.total : 0;
    tell(now);
  });
  if (state.job === job) state.job = null;
  if (last.state === "failed") fail(new Error(last.error));
  controls();
  return last;
}

function pace(now) {
  if (now.lost) return "The connection was lost; trying again …";
  if (now.state === "queued") return now.ahead ? `Waiting: ${now.ahead} before you.` : "Waiting …";
  if (!now.done) return "Starting …";
  const left = now.seconds_left == null ? "" : `, about ${Math.max(1, Math.round(now.seconds_left))} s left`;
  return `${NAMES[now.detector] ?? now.detector}: ${now.done} masks of about ${now.total}${left}`;
}

async function endJob() {
  if (!state.job) return;
  const job = state.job;
  state.job = null;
  await trying(() => api.stop(job));
}

const masksSaid = () => Object.values(state.answers).map((answer) => `${answer.n_masks} masks`).join(" and ");

function showAnswers() {
  const names = detectors();
  byId("answers").replaceChildren(...names.filter((name) => state.answers[name]).map(answerCard));
  state.stages.forEach((stage, i) => showMap(stage, names[i]));
  showDifference(names);
  controls();
}

function answerCard(name) {
  const answer = state.answers[name];
  const card = document.createElement("div");
  card.className = "answer";
  const said = document.createElement("p");
  const score = answer.reported == null ? "reports no face here" : `score ${fixed(answer.reported, 2)}`;
  said.textContent = `${NAMES[name] ?? name}: ${score}; ${answer.n_masks} masks, ${answer.trust}.`;
  card.append(said);
  if (answer.shares) {
    const bar = document.createElement("div");
    bar.className = "shares";
    const percent = (value) => `${Math.round(100 * value)} %`;
    const { box, ring, beyond } = answer.shares;
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", `Evidence: ${percent(box)} in the box, ${percent(ring)} around it, ${percent(beyond)} beyond`);
    for (const [part, value] of [["in-box", box], ["in-ring", ring], ["beyond", beyond]]) {
      const piece = document.createElement("i");
      piece.className = part;
      piece.style.width = `${100 * value}%`;
      bar.append(piece);
    }
    const words = document.createElement("p");
    words.className = "quiet";
    words.textContent = `Evidence: ${percent(box)} in the box, ${percent(ring)} around it, ${percent(beyond)} beyond.`;
    card.append(bar, words);
  }
  for (const note of answer.notes) {
    const text = document.createElement("p");
    text.className = "quiet";
    text.textContent = note;
    card.append(text);
  }
  return card;
}

const looks = () => ({ colours: byId("colours").value, sign: byId("sign").value, threshold: byId("threshold").value / 100 });

function showMap(stage, name) {
  const answer = state.answers[name];
  const more = answer ? { detector: name, ...looks(), v: answer.n_masks } : null;
  return showLayer(stage, "map", more, `What ${name} relies on for the chosen box`);
}

function showDifference(names) {
  if (!state.difference) return;
  const both = names.length === 2 && names.every((name) => state.answers[name]);
  const made = names.map((name) => state.answers[name]?.n_masks).join("-");
  const more = both && !state.job ? { detectors: names.join(","), v: made } : null;
  showLayer(state.difference, "difference", more, "The difference of the two maps");
}

// A layer with its legend; neither without the other.
async function showLayer(stage, kind, more, alt) {
  if (!more) {
    stage.explain(null);
    stage.show("map", null);
    return;
  }
  const [picture, target] = [state.picture.id, state.active];
  const address = api.layerAddress(picture, `${kind}.png`, target, more);
  const [legend, shown] = await Promise.all([
    trying(() => api.legend(picture, kind, target, more)),
    stage.show("map", address, alt),
  ]);
  if (shown && legend) stage.explain(legend);
}

// --- believe it? ----------------------------------------------------------------------------------

const direction = () => document.querySelector("[name=direction]:checked").value;
let playing = null;

const changing = new Changing(
  (address) => state.stages[0].show("painting", address),
  (answer, { direction: how, share, error }) => {
    if (error) {
      fail(error);
      return;
    }
    const percent = fixed(100 * share, share < 0.1 ? 1 : 0);
    const what = how === "deletion" ? `With the strongest ${percent} % hidden` : `With only the strongest ${percent} % shown`;
    byId("live").textContent = `${what}, the detector answers ${fixed(answer.score, 2)} (overlap ${fixed(answer.iou, 2)}).`;
  },
);

function change() {
  const slider = Number(byId("share").value);
  const share = shareOf(slider);
  byId("share-said").textContent = `${fixed(100 * share, share < 0.1 ? 1 : 0)} %`;
  markNow(byId("chart"), share);
  state.stages[0].map.hidden = true;
  state.stages[0].explain(null);
  return changing.to({ picture: state.picture.id, detector: detectors()[0], target: state.active, direction: direction(), share });
}

// Back to the painting as it is, under its map.
function unplay() {
  clearTimeout(playing);
  playing = null;
  byId("play").textContent = "Play";
  byId("share").value = 0;
  byId("share-said").textContent = "0 %";
  byId("live").textContent = "The painting as it is.";
  byId("chart").setAttribute("hidden", "");
  byId("areas").textContent = "";
  changing.wish = null;
  state.stages[0]?.show("painting", api.pictureAddress(state.picture.id));
}

async function play() {
  if (playing) {
    unplay();
    showAnswers();
    return;
  }
  byId("play").textContent = "Stop";
  byId("share").value = 0;
  const step = async () => {
    const slider = byId("share");
    await change();
    if (Number(slider.value) >= 60) {
      playing = null;
      byId("play").textContent = "Play";
      return;
    }
    slider.value = Number(slider.value) + 3;
    if (playing) playing = setTimeout(step, 120);
  };
  playing = setTimeout(step, 0);
}

async function measure() {
  const target = state.active;
  const begun = await trying(() => api.begin(state.picture.id, { kind: "curves", detector: detectors()[0], target }));
  if (begun) await hear({ id: begun.job, kind: "curves", targets: [target] });
}

async function hearCurves(job, target) {
  let curves = {};
  const last = await followed(job, (now) => {
    curves = now.curves ?? curves;
  });
  byId("pace").textContent = "";
  if (last.state !== "done" || !sameTarget(target, state.active)) return;
  drawChart(byId("chart"), curves);
  markNow(byId("chart"), shareOf(Number(byId("share").value)));
  const { insertion, deletion } = curves;
  byId("areas").textContent = `Insertion ${fixed(insertion.area, 3)}, deletion ${fixed(deletion.area, 3)} (protocol ${insertion.protocol.name}): the wider apart, the better.`;
}

// --- controls -------------------------------------------------------------------------------------

function controls() {
  const answered = Object.keys(state.answers).length > 0;
  const names = detectors();
  const more = names.every((name) => state.watched.has(name));
  byId("start").textContent = more ? "Watch more masks" : names.length === 2 ? "Explain with both" : "Explain";
  byId("start").disabled = !state.active || Boolean(state.job);
  byId("stop").hidden = !state.job;
  byId("progress").hidden = !state.job;
  byId("looks").hidden = !answered;
  byId("believe").hidden = !answered || !state.answers[names[0]];
  byId("measure").disabled = Boolean(state.job);
  byId("take").hidden = !answered || Boolean(state.job);
  for (const id of ["first", "second"]) byId(id).disabled = Boolean(state.job);
  if (!byId("take").hidden) {
    const asked = names.filter((name) => state.answers[name]);
    byId("files").replaceChildren(...FILES.map((file) => {
      const link = document.createElement("a");
      link.href = api.fileAddress(state.picture.id, file, asked, [state.active], looks());
      link.textContent = file;
      link.download = "";
      return link;
    }));
  }
}

function setOpacity() {
  const opacity = byId("opacity").value / 100;
  for (const stage of [...state.stages, ...(state.difference ? [state.difference] : [])]) stage.setOpacity(opacity);
}

function setUpControls(told) {
  for (const { name, summary, missing } of told.detectors) {
    for (const id of ["first", "second"]) {
      const option = new Option(NAMES[name] ?? name, name);
      option.disabled = Boolean(missing);
      option.title = missing ?? summary;
      byId(id).add(option);
    }
  }
  byId("second").add(new Option("no other", ""), 0);
  byId("second").value = "";
  byId("first").value = told.detectors.find((one) => !one.missing)?.name ?? "";
  for (const name of told.colours) byId("colours").add(new Option(name, name));
  for (const id of ["first", "second"]) {
    byId(id).addEventListener("change", async () => {
      state.answers = {};
      unplay();
      await look();
      setOpacity();
    });
  }
  byId("another").addEventListener("click", back);
  byId("draw").addEventListener("click", () => toggleDrawing(byId("draw").getAttribute("aria-pressed") !== "true"));
  byId("start").addEventListener("click", () => {
    setOpacity();
    start();
  });
  byId("stop").addEventListener("click", () => state.job && trying(() => api.stop(state.job)));
  byId("opacity").addEventListener("input", setOpacity);
  for (const id of ["threshold", "colours", "sign"]) byId(id).addEventListener("change", showAnswers);
  byId("share").addEventListener("input", change);
  for (const one of document.querySelectorAll("[name=direction]")) one.addEventListener("change", change);
  byId("play").addEventListener("click", play);
  byId("measure").addEventListener("click", measure);
}

function setUpDrop() {
  const drop = byId("drop");
  byId("file").addEventListener("change", (event) => openFile(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") openFile(event.dataTransfer.files[0]);
    });
  }
}

function setUpViews(runs) {
  const openRuns = setUpStudy(runs, fail);
  let opened = false;
  byId("show-study").hidden = !runs.length;
  const show = (study) => {
    byId("explain").hidden = study;
    byId("study").hidden = !study;
    byId("show-explain").setAttribute("aria-pressed", String(!study));
    byId("show-study").setAttribute("aria-pressed", String(study));
    if (study && !opened) openRuns();
    opened ||= study;
  };
  byId("show-explain").addEventListener("click", () => show(false));
  byId("show-study").addEventListener("click", () => show(true));
}

async function main() {
  setUpDrop();
  const told = await trying(api.start);
  if (!told) return;
  state.limits = told.limits;
  setUpControls(told);
  setUpChoice(told.samples);
  setUpViews(told.runs);
  say("");
  await goOn();
  document.body.dataset.ready = "true";
}

main();

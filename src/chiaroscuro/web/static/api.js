// Requests to the workbench. Every failure is an Error whose message is a sentence.

async function request(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The workbench does not respond. Check that it is running.");
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(value.error ?? `The workbench refused the request (${answer.status}).`);
  return value;
}

const json = (value) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

export const start = () => request("/api/start");
export const sample = (id) => request("/api/pictures", json({ sample: id }));
export const upload = (file) =>
  request(`/api/pictures?${new URLSearchParams({ name: file.name })}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: file,
  });
export const picture = (id) => request(`/api/pictures/${encodeURIComponent(id)}`);
export const faces = (picture, detector) => request(`/api/pictures/${picture}/faces`, json({ detector }));
export const explain = (picture, detectors, targets) =>
  request(`/api/pictures/${picture}/explain`, json({ detectors, targets }));
export const begin = (picture, what) => request(`/api/pictures/${picture}/jobs`, json(what));
export const stop = (job) => request(`/api/jobs/${job}/stop`, json({}));
export const live = (picture, what) => request(`/api/pictures/${picture}/live`, json(what));
export const run = (number) => request(`/api/runs/${number}`);

// Follows a job until it is finished; the browser reconnects by itself.
export function follow(job, report) {
  return new Promise((resolve) => {
    const events = new EventSource(`/api/jobs/${job}/events`);
    let last = { state: "queued" };
    const end = (state) => {
      events.close();
      resolve(state);
    };
    events.addEventListener("state", (event) => {
      last = JSON.parse(event.data);
      report(last);
      if (["done", "stopped", "failed"].includes(last.state)) end(last);
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) {
        end({ ...last, state: "failed", error: "The workbench does not respond. Check that it is running." });
      } else {
        report({ ...last, lost: true });
      }
    });
  });
}

export const pictureAddress = (picture) => `/api/pictures/${picture}/picture.jpg`;

export function layerAddress(picture, kind, target, more) {
  const words = new URLSearchParams({ box: target.box.join(","), ...more });
  if (target.label !== null && target.label !== undefined) words.set("label", target.label);
  return `/api/pictures/${picture}/${kind}?${words}`;
}

export const legend = (picture, kind, target, more) => request(layerAddress(picture, `${kind}.json`, target, more));

// `look` has the colours, sign and threshold of the page.
export function fileAddress(picture, name, detectors, targets, look) {
  const words = new URLSearchParams({
    detectors: detectors.join(","),
    targets: JSON.stringify(targets),
    ...look,
  });
  return `/api/pictures/${picture}/export/${name}?${words}`;
}

"""A workbench on a free port of the loopback address, and detectors that answer at once."""

import contextlib
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from PIL import Image
from waiting import PATIENCE_S

from chiaroscuro.web.app import WorkbenchSettings, make_app

BOX = (30, 20, 60, 60)  # the bright face in `painting_file`
DETECTORS = ("workbench_faces:find", "workbench_faces:strict", "workbench_faces:broken")
_VISITORS: list["Visitor"] = []
MODULE = '''
import time
import numpy as np

PACE = 0.0
CALLS = []


def find(images, factor=1.0):
    """One face, as sure as its place is bright."""
    CALLS.append(len(images))
    time.sleep(PACE * len(images))
    found = []
    for image in np.asarray(images):
        score = float(image[:, 20:60, 30:60].mean()) * factor
        found.append([[30, 20, 60, 60, score]] if score > 0.05 else [])
    return found


def strict(images):
    return find(images, 0.5)


def broken(images):
    if len(images) > 1 or np.asarray(images)[0, :, :5, :5].max() == 0:
        raise RuntimeError("the cable is loose")
    return [[[30, 20, 60, 60, 0.9]] for _ in images]
'''


def painting_file(face: int = 250, size: tuple[int, int] = (120, 90)) -> bytes:
    """A PNG with a bright face on a dark ground."""
    pixels = np.full((size[1], size[0], 3), 40, np.uint8)
    pixels[20:60, 30:60] = face
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


@contextlib.contextmanager
def running(folder: Path, **settings: object) -> Iterator[str]:
    """The address of a workbench that runs meanwhile."""
    (folder / "workbench_faces.py").write_text(MODULE)
    app = make_app(WorkbenchSettings(**{"detectors": DETECTORS, **settings}))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        while _VISITORS:
            _VISITORS.pop().http.close()
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()


class Visitor:
    """Somebody with a browser, in code."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=PATIENCE_S)
        _VISITORS.append(self)
        self.http.get("/")

    def post(self, path: str, **value: object) -> httpx.Response:
        return self.http.post(path, json=value)

    def upload(self, content: bytes, name: str = "painting.png") -> httpx.Response:
        return self.http.post(f"/api/pictures?name={name}", content=content)

    def open(self, content: bytes | None = None) -> str:
        answer = self.upload(content or painting_file())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["picture"])

    def begin(self, picture: str, **value: object) -> httpx.Response:
        asked = {
            "detectors": [DETECTORS[0]],
            "targets": [{"box": list(BOX), "label": 0, "score": 0.9, "origin": "found"}],
            "n_passes": 60,
            **value,
        }
        return self.post(f"/api/pictures/{picture}/jobs", **asked)

    def states(self, job: str, seen: int = 0) -> Iterator[tuple[int, dict]]:
        """Versions and states of a job, until it is finished."""
        headers = {"last-event-id": str(seen)} if seen else {}
        with self.http.stream("GET", f"/api/jobs/{job}/events", headers=headers) as stream:
            version = 0
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    version = int(line[4:])
                elif line.startswith("data: "):
                    yield version, json.loads(line[6:])

    def last(self, job: str) -> dict:
        return list(self.states(job))[-1][1]

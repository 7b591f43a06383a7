"""A workbench on a free port of the loopback address, and fast detectors that can be held."""

import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from anyio import open_file  # noqa: F401  (loaded lazily; not while another thread imports)
from PIL import Image
from waiting import PATIENCE_S

from chiaroscuro.web.app import WorkbenchSettings, make_app

BOX = (30, 20, 60, 60)  # the bright face in `painting_file`
DETECTORS = ("workbench_faces:find", "workbench_faces:strict", "workbench_faces:broken")
_USERS: list["User"] = []
MODULE = '''
import numpy as np

CALLS = []
PERMITS = None  # a semaphore: one permit per call with masked pictures


def find(images, factor=1.0):
    """One face; its score is the brightness of its place."""
    CALLS.append(len(images))
    permits = PERMITS
    if permits is not None and len(images) > 1:
        permits.acquire()
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
    """The address of a workbench that runs inside the context."""
    (folder / "workbench_faces.py").write_text(MODULE)
    app = make_app(WorkbenchSettings(**{"detectors": DETECTORS, **settings}))
    server = _Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(PATIENCE_S)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        while _USERS:
            _USERS.pop().http.close()
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()


class _Server(uvicorn.Server):
    """A server that reports when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.contextmanager
def held(calls: int) -> Iterator[Callable[[], None]]:
    """Hold the detectors after that many calls with masked pictures, until released."""
    module, permits = import_module("workbench_faces"), threading.Semaphore(calls)

    def release() -> None:
        module.PERMITS = None
        permits.release(1000)

    module.PERMITS = permits
    try:
        yield release
    finally:
        release()


class User:
    """A user without a browser."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=PATIENCE_S)
        _USERS.append(self)
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

"""How soon is the workbench usable, and what do ten users at once cost?

    python benchmarks/workbench.py

Starts ``chiaroscuro app`` and drives Debian's chromium and ten plain HTTP users through it: seconds
from the command to the first paint and to a page that can be used, and requests until then; then,
three times, ten users who each upload a painting of their own and explain a face from 100 masks
with CenterFace: the memory that the server holds before, at most meanwhile and after, and whether
each got the answer of its own painting. Three minutes on two cores.
"""

import io
import json
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from chiaroscuro.data.samples import met_faces

USERS, N_PASSES = 10, 100


def main() -> None:
    began = time.perf_counter()
    command = [sys.executable, "-m", "chiaroscuro", "app", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        try:
            first_use(address, began)
            for _ in range(3):
                together(address, server.pid)
        finally:
            server.terminate()


def first_use(address: str, began: float) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for what in ("just started", "running"):
            page = browser.new_page()
            opened = time.perf_counter()
            page.goto(address)
            painted = time.perf_counter()
            expect(page.locator("body[data-ready=true]")).to_be_attached(timeout=60_000)
            usable = time.perf_counter()
            n_requests = page.evaluate("performance.getEntriesByType('resource').length") + 1
            print(
                f"{what}: the page in {painted - opened:z.2f} s ({painted - began:z.2f} s after "
                f"the command), usable in {usable - opened:z.2f} s, {n_requests} requests"
            )
            page.close()
        browser.close()


def together(address: str, pid: int) -> None:
    paintings = met_faces()[:USERS]
    start = threading.Barrier(USERS)
    before, highest, over = memory_mb(pid), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            highest[0] = max(highest[0], memory_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()

    def use(painting) -> tuple[float, bool]:
        http = httpx.Client(base_url=address, timeout=600)
        http.get("/")
        stream = io.BytesIO()
        Image.fromarray(painting.read().permute(1, 2, 0).numpy()).save(stream, "png")
        start.wait()
        began = time.perf_counter()
        picture = http.post("/api/pictures?name=p.png", content=stream.getvalue()).json()["picture"]
        faces = http.post(f"/api/pictures/{picture}/faces", json={"detector": "centerface"})
        target = faces.json()["faces"][0]
        request = {"detectors": ["centerface"], "targets": [target], "n_passes": N_PASSES}
        job = http.post(f"/api/pictures/{picture}/jobs", json=request).json()["job"]
        last = {}
        with http.stream("GET", f"/api/jobs/{job}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    last = json.loads(line[6:])
        content = http.get(f"/api/pictures/{picture}/export/evidence.npz", params={
            "detectors": "centerface", "targets": json.dumps([target])
        }).content  # fmt: skip
        own = np.array_equal(np.load(io.BytesIO(content))["image"], painting.read().numpy())
        assert last["state"] == "done", last
        return time.perf_counter() - began, own

    with ThreadPoolExecutor(USERS) as pool:
        results = list(pool.map(use, paintings))
    over.set()
    watcher.join()
    seconds = sorted(one for one, _ in results)
    print(
        f"{USERS} users, {N_PASSES} passes each: done after {seconds[0]:z.0f} to "
        f"{seconds[-1]:z.0f} s, {sum(own for _, own in results)} with their own painting; memory "
        f"{before:z.0f} MB before, at most {highest[0]:z.0f}, {memory_mb(pid):z.0f} after"
    )


def memory_mb(pid: int) -> float:
    line = next(
        one
        for one in Path(f"/proc/{pid}/status").read_text().splitlines()
        if one.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

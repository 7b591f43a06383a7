"""A study on many machines: Ray hands pictures to workers that hold a detector each.

The unit of work is the one that a single process has, and workers write to the same run folder, so
results are the same to the bit, and either can resume what the other began. What a worker's death
costs is the picture it was working on: it is tried once more, and recorded as failed if it kills
again.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import InputError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.core.plan import DetectorChoice, StudySettings
from chiaroscuro.core.progress import Report, Steps
from chiaroscuro.data.datasets import DataSet, Entry
from chiaroscuro.detectors.registry import load_detector
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.examine import examine, write_failed
from chiaroscuro.studies.run import Run, begin, labels_of, only_one, run_record

LOCAL = "local"
_TRIES = 2  # of a picture whose worker dies


def study_on_ray(
    data: DataSet,
    folder: str | AnyPath,
    settings: StudySettings,
    *,
    address: str = LOCAL,
    workers: int | None = None,
    cpus: int = 1,
    gpus: float = 0.0,
    device: str = "auto",
    progress: Report | None = None,
) -> Run:
    """Study a data set on Ray; arguments, results and errors are those of ``study``.

    Args:
        data: what is studied; its files must be readable by every worker under the same paths.
        folder: of the run, likewise.
        settings: how; ``settings.choice`` is what every worker loads.
        address: ``"local"`` starts Ray here, for this call; else that of a cluster.
        workers: how many; by default as many as the processors or graphics cards allow.
        cpus: threads per worker.
        gpus: graphics cards per worker, such as 0.5.
        device: of the detectors.
        progress: called when a picture is done.

    Raises:
        MissingDependencyError: if Ray is not installed.
        InputError: if the settings name no detector.
    """
    ray, choice = _import_ray(), settings.choice
    if not choice.detector:
        raise InputError("settings: wanted the detector's name, which every worker loads by itself")
    folder = bundle.as_path(folder)
    if isinstance(folder, Path):
        folder = folder.resolve()  # workers may run in another folder
    with only_one(folder), _connected(ray, address):
        # the driver holds one too, for the class names; it never runs
        detector = load_detector(choice.detector, device="cpu", **choice.options)
        labels = labels_of(data, detector)
        run = begin(folder, run_record(data, detector, settings))
        waiting = deque(entry for entry in data.entries if not run.done(entry.name))
        total = len(data.entries)
        steps = Steps(progress, total, "pictures", done=total - len(waiting))
        n = max(1, min(len(waiting), workers or _room(ray, cpus, gpus)))
        worker = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=_TRIES - 1
        )(_Worker)
        pool = [worker.remote(choice, device, cpus) for _ in range(n if waiting else 0)]
        for entry in _all_examined(ray, pool, waiting, run, settings, labels):
            steps.at(entry.name)
            steps.advance()
    return run


class _Worker:
    """Holds a detector, and studies one picture at a time."""

    def __init__(self, choice: DetectorChoice, device: str, cpus: int) -> None:
        import torch

        torch.set_num_threads(cpus)
        self._detector = load_detector(choice.detector, device=device, **choice.options)

    def examine(
        self, entry: Entry, folder: AnyPath, settings: StudySettings, labels: Mapping[int, int]
    ) -> None:
        examine(entry, self._detector, folder, settings, labels)


def _all_examined(
    ray: Any,
    pool: list[Any],
    waiting: deque[Entry],
    run: Run,
    settings: StudySettings,
    labels: Mapping[int, int],
) -> Iterator[Entry]:
    """Keep every worker busy with one picture; yield pictures as they are done or given up."""
    at_work: dict[Any, tuple[Any, Entry]] = {}

    def give(worker: Any) -> None:
        if waiting:
            entry = waiting.popleft()
            task = worker.examine.remote(entry, run.path(entry.name), settings, labels)
            at_work[task] = (worker, entry)

    for worker in pool:
        give(worker)
    while at_work:
        (task,), _ = ray.wait(list(at_work), num_returns=1)
        worker, entry = at_work.pop(task)
        try:
            ray.get(task)
        except ray.exceptions.RayActorError:  # Ray has restarted the worker and tried again
            reason = f"its worker died {_TRIES} times: out of memory, or killed"
            write_failed(run.path(entry.name), entry, reason)
        give(worker)
        yield entry


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Ray, started here or joined, then ended or left; without usage reports or dashboard."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    options = {"include_dashboard": False} if address == LOCAL else {"address": address}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level="ERROR", **options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray exits at once
    try:
        yield
    finally:
        ray.shutdown()


def _room(ray: Any, cpus: int, gpus: float) -> int:
    there = ray.cluster_resources()
    rooms = [there.get("CPU", 1) // cpus] + ([there.get("GPU", 0) // gpus] if gpus else [])
    return max(1, int(min(rooms)))


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            f"--ray needs Ray, which is not installed; {install_hint('scale')}"
        ) from error
    return ray

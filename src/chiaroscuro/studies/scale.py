"""A study on many machines: Ray hands pictures to workers that hold a detector each.

The unit of work is the one that a single process has, and workers write to the same run folder, so
results are the same to the bit, and either can go on where the other stopped. What a worker's death
costs is the picture it was at: it is tried once more, and recorded as failed if it kills again.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import InputError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.data.datasets import DataSet, Entry
from chiaroscuro.detectors.registry import load_detector
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.examine import StudySettings, examine
from chiaroscuro.studies.run import Run, ask, begin, labels_of, only_one

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
    progress: Callable[[str, int, int], None] | None = None,
) -> Run:
    """Study a data set on Ray; arguments and results as for ``study``.

    Args:
        data: what is studied; its files must be readable by every worker under the same paths.
        folder: of the run, likewise.
        settings: how; ``settings.explain.detector`` is what every worker loads.
        address: ``"local"`` starts Ray here, for this call; else that of a cluster.
        workers: how many; by default as many as the processors or graphics cards allow.
        cpus: threads of a worker.
        gpus: graphics cards of a worker, such as 0.5.
        device: of the detectors.
        progress: called with the picture just done, pictures done and pictures in all.

    Raises:
        MissingDependencyError: if Ray is not installed.
        InputError: if the settings name no detector.
        As ``study`` does.
    """
    ray = _import_ray()
    explain = settings.explain
    if not explain.detector:
        raise InputError("settings: wanted the detector's name, which every worker loads by itself")
    folder = bundle.as_path(folder)
    if isinstance(folder, Path):
        folder = folder.resolve()  # workers may run in another folder
    with only_one(folder), _connected(ray, address):
        # the driver holds one too, for the class names; it never runs
        detector = load_detector(explain.detector, device="cpu", **explain.detector_options)
        labels = labels_of(data, detector)
        run = begin(folder, ask(data, detector, settings))
        waiting = deque(entry for entry in data.entries if not run.done(entry.name))
        done, total = len(data.entries) - len(waiting), len(data.entries)
        n = max(1, min(len(waiting), workers or _room(ray, cpus, gpus)))
        worker = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=_TRIES - 1
        )(_Worker)
        pool = [
            worker.remote(explain.detector, dict(explain.detector_options), device, cpus)
            for _ in range(n if waiting else 0)
        ]
        for entry in _all_examined(ray, pool, waiting, run, settings, labels):
            done += 1
            if progress is not None:
                progress(entry.name, done, total)
    return run


class _Worker:
    """Holds a detector, and studies one picture at a time."""

    def __init__(self, spec: str, options: Mapping[str, Any], device: str, cpus: int) -> None:
        import torch

        torch.set_num_threads(cpus)
        self._detector = load_detector(spec, device=device, **options)

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
            task = worker.examine.remote(entry, run.picture(entry.name), settings, labels)
            at_work[task] = (worker, entry)

    for worker in pool:
        give(worker)
    while at_work:
        (task,), _ = ray.wait(list(at_work), num_returns=1)
        worker, entry = at_work.pop(task)
        try:
            ray.get(task)
        except ray.exceptions.RayActorError:  # Ray has started the worker anew and tried again
            reason = f"its worker died {_TRIES} times: out of memory, or killed"
            bundle.write_json(
                run.picture(entry.name) / "failed.json",
                {"picture": str(entry.path), "reason": reason},
            )
        give(worker)
        yield entry


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Ray, started here or joined; ended or left afterwards.

    It reports to nobody and shows no dashboard; its token authentication stays as it is, on.
    """
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

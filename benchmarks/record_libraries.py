"""How long do libraries for declared records take to import?

    python -m venv /tmp/libraries
    /tmp/libraries/bin/pip install attrs cattrs msgspec pydantic typer cyclopts
    python benchmarks/record_libraries.py /tmp/libraries/bin/python

Prints the median of fifteen fresh processes each, in turn, less that of one that imports
``dataclasses``, which chiaroscuro needs anyway.
"""

import os
import statistics
import subprocess
import sys
import time

RUNS = 15
MODULES = (
    *("dataclasses", "attrs", "attrs, cattrs", "msgspec", "pydantic.main"),
    *("typer", "cyclopts"),
)


def seconds(python: str, modules: str) -> float:
    """Of a fresh process that imports them; bytecode is cached."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    began = time.perf_counter()
    subprocess.run([python, "-c", f"import {modules}"], env=environment, check=True)
    return time.perf_counter() - began


def main() -> None:
    python = sys.argv[1]
    taken: dict[str, list[float]] = {modules: [] for modules in MODULES}
    for run in range(RUNS + 1):
        for modules, times in taken.items():
            one = seconds(python, modules)
            if run:  # the first fills the caches
                times.append(one)
    base = statistics.median(taken["dataclasses"])
    for modules, times in taken.items():
        print(f"{modules}: {1000 * (statistics.median(times) - base):.0f} ms")


if __name__ == "__main__":
    main()

"""Waiting for the output of another process: no clock, so it works under any load."""

import subprocess

PATIENCE_S = 600.0  # for libraries that need a limit; it ends only tests that hang


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's stderr up to a line with that text; returns what was read."""
    said = ""
    for line in iter(process.stderr.readline, ""):
        said += line
        if text in line:
            return said
    raise AssertionError(f"the process ended without printing {text!r}: {said}")

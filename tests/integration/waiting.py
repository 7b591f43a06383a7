"""Waiting for what another process says: no clock, so no load of the machine is too high."""

import subprocess

PATIENCE_S = 600.0  # where a library wants a limit: it ends a test that hangs, and no other


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's stderr until a line has that text, or it ends; what was read."""
    said = ""
    for line in iter(process.stderr.readline, ""):
        said += line
        if text in line:
            return said
    raise AssertionError(f"the process ended without saying {text!r}: {said}")

"""No damaged input of any reader gives anything but errors of chiaroscuro."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent.parent / "fuzz.py"


def test_damaged_input_gives_our_errors_alone() -> None:
    command = [sys.executable, str(FUZZ), "--cases", "500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 cases of seed 17, 0 failed" in done.stdout

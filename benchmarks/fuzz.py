"""Ten thousand damaged inputs for every reader: ``python benchmarks/fuzz.py``.

The same as ``tests/fuzz.py``, which says what is damaged and how, with more cases; options after
the command are passed on, such as ``--seed 18`` or ``--readers evidence``.
"""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent.parent / "tests" / "fuzz.py"

if __name__ == "__main__":
    command = [sys.executable, str(FUZZ), "--cases", "10000", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)

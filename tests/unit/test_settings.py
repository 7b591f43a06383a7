"""Settings of right and wrong kinds, as a Python without run-time type checks takes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("settings_program.py")


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    command = [sys.executable, str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_numpy_scalars_and_a_default_of_float64_work(lines: list[dict[str, str]]) -> None:
    works = [line for line in lines if line["expected"] == "works"]
    assert len(works) > 20
    assert [line for line in works if line["outcome"] != "works"] == []


def test_wrong_kinds_are_input_errors_that_name_the_setting(lines: list[dict[str, str]]) -> None:
    refused = [line for line in lines if line["expected"] == "refused"]
    assert len(refused) > 50
    for line in refused:
        kinds, _, message = line["outcome"].partition(": ")
        assert "InputError" in kinds.split(), line
        assert line["name"] in message, line

"""The log can be written by any handler."""

import logging
import os
from pathlib import Path

from chiaroscuro.core.log import LOG


def test_names_that_are_no_utf8_are_spelled_out_in_the_log(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log.txt", encoding="utf-8")
    LOG.addHandler(handler)
    try:
        LOG.warning("left out: %s", os.fsdecode(b"caf\xe9.png"))
    finally:
        LOG.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "left out: caf\\udce9.png\n"

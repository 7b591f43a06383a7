"""The package's log: notes to the user as INFO, what may be wrong as WARNING."""

import logging

from chiaroscuro.core.text import printable


def log(name: str = "chiaroscuro") -> logging.Logger:
    """A log whose lines any handler can write, whatever the names of files hold."""
    logger = logging.getLogger(name)
    logger.addFilter(_spell_out)
    return logger


def _spell_out(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


LOG = log()

"""The package's log: notes to the user as INFO, what may be wrong as WARNING."""

import logging

LOG = logging.getLogger("chiaroscuro")

"""What the outputs of an ONNX file mean.

A layout is recognised where names and shapes are unambiguous, else the user names it. One layout is
one small record; each module holds the layouts of one idea.
"""

from chiaroscuro.detectors.adapters.onnx.layouts.faces import FACES
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Layout
from chiaroscuro.detectors.adapters.onnx.layouts.lists import LISTS
from chiaroscuro.detectors.adapters.onnx.layouts.queries import QUERIES
from chiaroscuro.detectors.adapters.onnx.layouts.tables import TABLES

__all__ = ["LAYOUTS"]

LAYOUTS: dict[str, Layout] = TABLES | QUERIES | LISTS | FACES

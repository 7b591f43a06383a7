"""What the outputs of an ONNX file mean.

Recognised where names and shapes leave no doubt, named by the user where they do. One layout is one
small record; the modules gather them by idea.
"""

from chiaroscuro.detectors.adapters.onnx.layouts.faces import FACES
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Layout
from chiaroscuro.detectors.adapters.onnx.layouts.lists import LISTS
from chiaroscuro.detectors.adapters.onnx.layouts.queries import QUERIES
from chiaroscuro.detectors.adapters.onnx.layouts.tables import TABLES

__all__ = ["LAYOUTS"]

LAYOUTS: dict[str, Layout] = TABLES | QUERIES | LISTS | FACES

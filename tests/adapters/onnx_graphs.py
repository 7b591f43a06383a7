"""ONNX graphs written by hand: every one of them finds the red rectangle of a picture."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, BYTE, INT = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT64,
)


class Graph:
    """Writes ONNX: every call adds a node and returns the name of its output."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def __call__(self, op, *inputs, n=1, **attributes):
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        outputs = [f"{op}{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(op, names, outputs, **attributes))
        return outputs[0] if n == 1 else outputs

    def constant(self, value):
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def model(self, inputs, outputs, metadata=None):
        nodes, results = list(self.nodes), []
        for name, (value, shape, kind) in outputs.items():
            nodes.append(helper.make_node("Identity", [value], [name]))
            results.append(helper.make_tensor_value_info(name, kind, shape))
        given = [helper.make_tensor_value_info(n, kind, shape) for n, shape, kind in inputs]
        graph = helper.make_graph(nodes, "net", given, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        helper.set_model_props(model, metadata or {})
        return model.SerializeToString()


def find_red(g, images, above=0.5):
    """Box (x1 y1 x2 y2), width, height and the scores (red, green, blue), each ``n 1``."""
    red, green, blue = g("Split", images, n=3, axis=1, num_outputs=3)
    seen = g("Cast", g("Greater", g("ReduceMax", red, [1], keepdims=0), above), to=FLOAT)

    def ends(axis, other):
        line = g("Greater", g("ReduceMax", seen, [other], keepdims=0), 0.5)
        length = g("Gather", g("Shape", seen), axis)
        place = g("Cast", g("Range", 0, length, 1), to=FLOAT)
        first = g("ReduceMin", g("Where", line, place, 10000.0), [1])
        last = g("ReduceMax", g("Where", line, g("Add", place, 1.0), 0.0), [1])
        return first, last, g("Cast", length, to=FLOAT)

    x1, x2, width = ends(axis=2, other=1)
    y1, y2, height = ends(axis=1, other=2)
    found = g("ReduceMax", g("ReduceMax", seen, [1], keepdims=0), [1])
    scores = [g("Mul", g("ReduceMax", c, [2, 3], keepdims=0), found) for c in (red, green, blue)]
    return (x1, y1, x2, y2), width, height, scores


def centre(g, box, wider=1.0):
    x1, y1, x2, y2 = box
    middle = [g("Mul", g("Add", a, b), 0.5) for a, b in ((x1, x2), (y1, y2))]
    size = [g("Max", g("Sub", b, a), 0.0) for a, b in ((x1, x2), (y1, y2))]
    return [*middle, g("Mul", size[0], wider), size[1]]


def constant_table(table, name="output0"):
    """A detector that always reports this table ``rows columns``."""
    g = Graph()
    zero = g("Mul", g("ReduceMean", "images", [1, 2, 3], keepdims=0), 0.0)
    rows = g("Add", np.asarray(table, dtype=np.float32)[None], g("Reshape", zero, [-1, 1, 1]))
    return g.model(
        [("images", ["n", 3, 64, 96], FLOAT)], {name: (rows, ["n", *np.shape(table)], FLOAT)}
    )


def picture(box, height, width, green=0.8, blue=0.5):
    """Black, with one rectangle whose channels differ, so that swapped ones are seen."""
    image = torch.zeros(3, height, width)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = torch.tensor([1.0, green, blue])[:, None, None]
    return image


BOX = (6, 4, 20, 14)
IMAGE = picture(BOX, height=32, width=40)  # for a 64 x 96 network: doubled, bars of 8 px
OTHER = picture((2, 10, 16, 30), height=32, width=40, green=0.6, blue=0.9)

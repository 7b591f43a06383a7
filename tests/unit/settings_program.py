"""Settings of right and wrong kinds, in a Python without run-time type checks, as users have it.

Prints one JSON line per case: what was set, and ``works`` or the error.
"""

import json

import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.core.declared import plain

PICTURE = np.zeros((20, 28, 3), np.uint8)
PICTURE[5:12, 6:20] = 200
PIXELS = torch.from_numpy(PICTURE).permute(2, 0, 1).contiguous()
NAN, LIGHT = float("nan"), torch.full((3, 20, 28), 0.5)


def find(images: torch.Tensor) -> list:
    return [[[6, 5, 20, 12, float(one[:, 5:12, 6:20].float().mean())]] for one in images]


def observe(**settings: object) -> object:
    settings = {"n_passes": 6, **settings}
    evidence = cs.observe(PIXELS, find, **settings)
    json.dumps(plain(evidence.settings()), allow_nan=False)
    return evidence.explain([[6, 5, 20, 12]])


def explain(**settings: object) -> object:
    settings = {"n_passes": 6, "method": "occlusion", **settings}
    return cs.explain(PIXELS, find, [[6, 5, 20, 12]], **settings)


def design(**settings: object) -> object:
    return observe(design=cs.MaskDesign(**settings))


WORK = [
    (observe, {"seed": np.int64(3)}),
    (observe, {"seed": np.uint64(2**64 - 1)}),
    (observe, {"n_passes": np.int32(6), "batch_size": np.int64(2)}),
    (observe, {"fidelity": np.float32(0.7)}),
    (observe, {"seed": torch.tensor(4)}),
    (explain, {"seed": np.int64(3), "n_passes": np.int64(20)}),
    (design, {"keep_probability": np.float32(0.4)}),
    (design, {"keep_probability": np.float64(0.5), "antithetic": np.bool_(True)}),
    (design, {"grid_size": np.int64(4)}),
    (design, {"grid_size": (np.int64(4), 5)}),
    (design, {"grid_size": np.array([4, 5])}),
    (design, {"grid_size": [4, 5]}),
    (design, {"fill": LIGHT.double()}),
    (design, {"fill": LIGHT.numpy()}),
    (design, {"fill": PIXELS}),
]
REFUSED = [
    *((observe, {"seed": value}) for value in (1.5, -1, True, "3", None, NAN, 2**64, [1])),
    *((observe, {"n_passes": value}) for value in (0, -1, 2.5, True, "many", None, NAN)),
    *((observe, {"fidelity": value}) for value in (2, 0, 1, NAN, "0.5", None, True)),
    *((observe, {"batch_size": value}) for value in (0, -2, 1.5, "4", True, NAN)),
    *((observe, {name: 3}) for name in ("design", "resume", "progress", "estimator")),
    *((explain, {name: 3}) for name in ("design", "evidence", "progress", "estimator", "method")),
    *((explain, {"seed": value}) for value in (1.5, -1, True, "3")),
    *((explain, {"n_passes": value}) for value in (0, 2.5, True, "x")),
    *((design, {"grid_size": value}) for value in (2.5, (3,), (3, 4, 5), 0, "4", (0, 4), None)),
    *((design, {"grid_size": value}) for value in ((2.5, 3), True, NAN, np.array([1.5, 2]))),
    *((design, {"keep_probability": value}) for value in (NAN, 0, 1, 1.5, -1, "0.5", None, True)),
    *((design, {"antithetic": value}) for value in ("no", 1, None)),
    *((design, {"fill": value}) for value in ("red", 0.5, None, LIGHT * NAN, LIGHT * 600)),
    *((design, {"fill": value}) for value in (LIGHT[:, :9], LIGHT[:1], LIGHT[0], LIGHT[None])),
    *((design, {"fill": value}) for value in (PIXELS.int(), LIGHT - 1, PICTURE)),
]


def main() -> None:
    for expected, cases in (("works", WORK), ("refused", REFUSED)):
        for call, settings in cases:
            try:
                call(**settings)
                outcome = "works"
            except Exception as error:
                names = [kind.__name__ for kind in type(error).__mro__]
                outcome = f"{' '.join(names)}: {error}"
            (name, value), *_ = settings.items()
            line = {"expected": expected, "name": name, "value": repr(value), "outcome": outcome}
            print(json.dumps(line))
    torch.set_default_dtype(torch.float64)
    for estimator in ("surrogate", "centred", "paper"):
        for fill in ("black", "mean", "blur", LIGHT):
            evidence = cs.observe(PIXELS, find, n_passes=40, design=cs.MaskDesign(fill=fill))
            map64 = evidence.explain([[6, 5, 20, 12]], estimator=estimator).saliency
            torch.set_default_dtype(torch.float32)
            evidence = cs.observe(PIXELS, find, n_passes=40, design=cs.MaskDesign(fill=fill))
            map32 = evidence.explain([[6, 5, 20, 12]], estimator=estimator).saliency
            torch.set_default_dtype(torch.float64)
            same = map64.dtype == map32.dtype and bool(torch.allclose(map64, map32))
            outcome = "works" if same else f"{map64.dtype}, another map"
            line = {"expected": "works", "name": "float64", "value": estimator, "outcome": outcome}
            print(json.dumps(line))


if __name__ == "__main__":
    main()

"""Every method on the same targets: the table of docs/methods.

    python benchmarks/methods.py [--pictures 20] [--detectors retinaface centerface] [--steady 2]

Met-faces at 416 pixels in an order drawn once, one found face a picture, in turn strong and weak.
Each method gets the same 400 passes a target if it only asks, and what it usually takes if it looks
into the network: for RetinaFace then the torch form of the same weights. Curves under our own
protocol and under the painting paper's, which no method was made for. Stability (another seed,
noise of two grey levels) and sanity (the last quarter of the layers shuffled) on the first
``--steady`` pictures.

Rows are kept in ``benchmarks/runs/methods/`` (not in git); the same command goes on, and a higher
number of pictures adds to what is there. Writes ``docs/methods/table.md``.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.data.samples import met_faces
from chiaroscuro.errors import UndefinedMetricError, UnsupportedMethodError
from chiaroscuro.methods import METHODS
from chiaroscuro.metrics.agreement import agreement_or_none
from chiaroscuro.metrics.randomisation import randomised
from chiaroscuro.records import as_targets

RUNS = Path(__file__).parent / "runs" / "methods"
TABLE = Path(__file__).parent.parent / "docs" / "methods" / "table.md"
PASSES = 400
MAX_SIDE = 416
PROTOCOLS = ("chiaroscuro", "painting")
PUBLISHED = "drise, published estimator"
NAMES = (*METHODS, PUBLISHED)


def detectors(name):
    """The detector to ask, and the same one to look into; None for a black box."""
    if name == "retinaface":
        return cs.load_detector(name), cs.load_detector(name, form="torch")
    return cs.load_detector(name), None


def explained(name, image, asked, looked_into, target, seed=0):
    if name == PUBLISHED:
        design = cs.MaskDesign(antithetic=False)
        options = {"method": "drise", "estimator": "paper", "design": design, "n_masks": PASSES}
    elif METHODS[name].needs == "black box":
        options = {"method": name, "n_masks": PASSES}
    else:
        options = {"method": name}
        asked = looked_into or asked
    return cs.explain(image, asked, [target], seed=seed, **options)


def pictures(detector, wanted):
    """Name, picture and target: of every picture one found face, in turn strong and weak."""
    paintings = met_faces()
    order = np.random.default_rng(0).permutation(len(paintings))
    taken = 0
    for index in order:
        painting = paintings[index]
        image = painting.read(max_side=MAX_SIDE)
        found = as_targets(detector.detect(image[None])[0].above(0.3))
        if found and taken < wanted:
            target = found[-1 if taken % 2 else 0].inside(*image.shape[1:])
            taken += 1
            yield str(painting.id), image, target


def measured(name, image, target, asked, looked_into, steady):
    """One row."""
    began = time.perf_counter()
    result = explained(name, image, asked, looked_into, target)
    took = time.perf_counter() - began
    own = asked if METHODS.get(name, METHODS["drise"]).needs == "black box" else looked_into
    began = time.perf_counter()
    for _ in range(3):
        own.detect(image[None])
    one_pass = (time.perf_counter() - began) / 3
    saliency = result.saliency[0]
    row = {
        "passes": result.settings.get("passes", result.settings.get("n_masks")),
        "times": took / one_pass,
        "notes": list(result.notes),
        **scored(image, target, saliency, asked),
    }
    if steady:
        agreements = metrics.repeatability(
            image,
            result,
            0,
            lambda other, seed: explained(name, other, asked, looked_into, target, seed),
        )
        row["seed"], row["noise"] = (linear(one) for (one,) in agreements.values())
        if looked_into is not None:
            _, _, shuffled = next(iter(randomised(looked_into, stages=4)))
            other = explained(name, image, shuffled, shuffled, target).saliency[0]
            row["shuffled"] = linear(agreement_or_none(saliency, other, target))
    return row


def linear(agreement):
    return None if agreement is None else agreement.linear


def scored(image, target, saliency, detector):
    row = {}
    for protocol in PROTOCOLS:
        try:
            up = metrics.insertion(image, detector, target, saliency, protocol=protocol)
            down = metrics.deletion(image, detector, target, saliency, protocol=protocol)
        except UndefinedMetricError as reason:
            return {"undefined": str(reason)}
        row[protocol] = [up.area, down.area, metrics.overall(up, down)]
    row["pointing"] = bool(metrics.pointing_game(saliency, target))
    try:
        row["energy"] = float(metrics.energy_pointing_game(saliency, target))
    except UndefinedMetricError:
        row["energy"] = None
    return row


def run(detector_name, wanted, n_steady):
    asked, looked_into = detectors(detector_name)
    for number, (picture, image, target) in enumerate(pictures(asked, wanted)):
        file = RUNS / detector_name / f"{picture}.json"
        rows = json.loads(file.read_text()) if file.exists() else {}
        steady = number < n_steady
        for name in (*NAMES, *metrics.BASELINES):
            if name in rows and not (steady and "seed" not in rows[name] and name in NAMES):
                continue
            try:
                if name in metrics.BASELINES:
                    saliency = metrics.baseline(name, image, target)
                    rows[name] = scored(image, target, saliency, asked)
                else:
                    rows[name] = measured(name, image, target, asked, looked_into, steady)
            except UnsupportedMethodError as reason:
                rows[name] = {"refused": reason.reason, "seed": None}
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(rows, indent=1))
        print(detector_name, number + 1, picture, flush=True)


def cell(values, digits=3):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:.2f} to {high:.2f})"


def table(detector_name):
    files = sorted((RUNS / detector_name).glob("*.json"))
    pictures_rows = [json.loads(file.read_text()) for file in files]
    pictures_rows = [rows for rows in pictures_rows if "random" in rows]  # the last: complete
    order = []
    for name in (*NAMES, *metrics.BASELINES):
        rows = [rows[name] for rows in pictures_rows if name in rows]
        usable = [row for row in rows if "chiaroscuro" in row]
        order.append((np.mean([r["chiaroscuro"][2] for r in usable]) if usable else -9, name, rows))
    lines = [
        f"### {detector_name}: {len(pictures_rows)} targets\n",
        "| method | overall, mean | overall | insertion | deletion | overall, painting protocol "
        "| pointing | energy in box | another seed | slight noise | shuffled weights | passes "
        "| times a pass |",
        "|---" * 13 + "|",
    ]
    refused = {}
    for mean, name, rows in sorted(order, reverse=True):
        usable = [row for row in rows if "chiaroscuro" in row]
        if not usable:
            reasons = [row.get("refused") for row in rows if row.get("refused")]
            refused[name] = reasons[0] if reasons else "no map has an order of pixels"
            continue
        spread = np.std([row["chiaroscuro"][2] for row in usable]) / np.sqrt(len(usable))
        lost = len(rows) - len(usable)
        steady = [
            cell([row[what] for row in usable if what in row], 2)
            for what in ("seed", "noise", "shuffled")
        ]
        told = f"{name} ({lost} without a map)" if lost else name
        cost = ["-"] * 2
        if name in NAMES:
            cost = [
                f"{np.median([row['passes'] for row in usable]):.0f}",
                f"{np.median([row['times'] for row in usable]):.1f}",
            ]
        cells = [
            told if name in NAMES else f"*{told}*",
            f"{mean:.3f} ± {spread:.3f}",
            cell([row["chiaroscuro"][2] for row in usable]),
            cell([row["chiaroscuro"][0] for row in usable]),
            cell([row["chiaroscuro"][1] for row in usable]),
            f"{np.mean([row['painting'][2] for row in usable]):.3f}",
            f"{np.mean([row['pointing'] for row in usable]):.2f}",
            cell([row["energy"] for row in usable], 2),
            *steady,
            *cost,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- **{name}**: {reason}" for name, reason in refused.items())]
    return "\n".join(lines)


def beside_search(detector_name):
    """What search gains on each method, target by target."""
    rows = [json.loads(f.read_text()) for f in sorted((RUNS / detector_name).glob("*.json"))]
    for name in (*NAMES, *metrics.BASELINES):
        for protocol in PROTOCOLS:
            gains = [
                one["search"][protocol][2] - one[name][protocol][2]
                for one in rows
                if protocol in one.get(name, {}) and protocol in one.get("search", {})
            ]
            if gains:
                error = np.std(gains) / np.sqrt(len(gains))
                won = np.mean(np.array(gains) >= 0)
                print(
                    f"{detector_name} search - {name}, {protocol}: {np.mean(gains):+.3f} ± "
                    f"{error:.3f}, at least as good on {won:.0%} of {len(gains)}"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--steady", type=int, default=2)
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--table-only", action="store_true")
    asked_for = parser.parse_args()
    parts = []
    for one in asked_for.detectors:
        if not asked_for.table_only:
            run(one, asked_for.pictures, asked_for.steady)
        parts.append(table(one))
        beside_search(one)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n\n".join(parts) + "\n")
    print(TABLE)

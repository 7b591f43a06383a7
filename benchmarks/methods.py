"""Every method on the same targets: the table of docs/methods.

    python benchmarks/methods.py [--pictures 60] [--detectors retinaface centerface] [--steady 4]
        [--methods search occlusion]

Met-faces at 416 pixels in an order drawn once, one found face a picture, in turn strong and weak.
Each method gets the same 400 passes a target if it only asks, and what it usually takes if it looks
into the network: for RetinaFace then the torch form of the same weights. Curves under our own
protocol and under the painting paper's, which no method was made for. Stability (another seed,
noise of two grey levels), sanity (the last quarter of the layers shuffled) and memory on the first
``--steady`` pictures; memory is the highest resident size of a process that explains, less that of
one that only detects.

Rows are kept in ``benchmarks/runs/methods/`` (not in git); the same command resumes, and a higher
number of pictures adds to what is there. Writes ``docs/methods/table.md``.
"""

import argparse
import json
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import UndefinedMetricError, UnsupportedMethodError
from chiaroscuro.core.records import as_targets
from chiaroscuro.data.samples import met_faces
from chiaroscuro.methods import METHODS
from chiaroscuro.metrics.agreement import agreement_or_none
from chiaroscuro.metrics.randomisation import randomised

RUNS = Path(__file__).parent / "runs" / "methods"
TABLE = Path(__file__).parent.parent / "docs" / "methods" / "table.md"
DETECTORS = ("retinaface", "centerface")
PASSES = 400
MAX_SIDE = 416
PROTOCOLS = ("chiaroscuro", "painting")
PUBLISHED = "drise, published estimator"
NAMES = (*METHODS, PUBLISHED)
EVERY = (*NAMES, *metrics.BASELINES)


def detectors(name):
    """The detector to ask, and the same one to look into; None for a black box."""
    if name == "retinaface":
        return cs.load_detector(name), cs.load_detector(name, form="torch")
    return cs.load_detector(name), None


def explained(name, image, black_box, white_box, target, seed=0):
    if name == PUBLISHED:
        design = cs.MaskDesign(antithetic=False)
        options = {"method": "drise", "estimator": "paper", "design": design, "n_passes": PASSES}
    elif METHODS[name].needs == "black box":
        options = {"method": name, "n_passes": PASSES}
    else:
        options = {"method": name}
        black_box = white_box or black_box
    return cs.explain(image, black_box, [target], seed=seed, **options)


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


def measured(name, image, target, black_box, white_box, steady):
    """One row."""
    began = time.perf_counter()
    result = explained(name, image, black_box, white_box, target)
    took = time.perf_counter() - began
    own = black_box if METHODS.get(name, METHODS["drise"]).needs == "black box" else white_box
    began = time.perf_counter()
    for _ in range(3):
        own.detect(image[None])
    one_pass = (time.perf_counter() - began) / 3
    saliency = result.saliency[0]
    row = {
        "passes": result.settings.n_passes,
        "times": took / one_pass,
        "notes": list(result.notes),
        **scored(image, target, saliency, black_box),
    }
    if steady:
        agreements = metrics.repeatability(
            image,
            result,
            0,
            lambda other, seed: explained(name, other, black_box, white_box, target, seed),
        )
        row["seed"], row["noise"] = (linear(one) for (one,) in agreements.values())
        if white_box is not None:
            _, _, shuffled = next(iter(randomised(white_box, stages=4)))
            other = explained(name, image, shuffled, shuffled, target).saliency[0]
            row["shuffled"] = linear(agreement_or_none(saliency, other, target))
    return row


def peak_mib(detector_name, picture, target, name):
    """Highest resident size of this process, which is new, after one explanation; MiB.

    From /proc: what getrusage says starts at the size of the process that began this one.
    """
    (painting,) = (one for one in met_faces() if str(one.id) == picture)
    image = painting.read(max_side=MAX_SIDE)
    black_box, white_box = detectors(detector_name)
    if name is None:
        for detector in (black_box, white_box):
            if detector is not None:
                detector.detect(image[None])
    else:
        explained(name, image, black_box, white_box, target)
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def memory(*black_box):
    """``peak_mib`` in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(peak_mib, *black_box).result()


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


def run(detector_name, wanted, n_steady, names):
    black_box, white_box = detectors(detector_name)
    for number, (picture, image, target) in enumerate(pictures(black_box, wanted)):
        file = RUNS / detector_name / f"{picture}.json"
        rows = json.loads(file.read_text()) if file.exists() else {}
        steady = number < n_steady
        for name in names:
            if name in rows and not (steady and "seed" not in rows[name] and name in NAMES):
                continue
            try:
                if name in metrics.BASELINES:
                    saliency = metrics.baseline(name, image, target)
                    rows[name] = scored(image, target, saliency, black_box)
                else:
                    rows[name] = measured(name, image, target, black_box, white_box, steady)
            except UnsupportedMethodError as reason:
                rows[name] = {"refused": reason.reason, "seed": None}
            keep(file, rows)
        unweighed = [
            n for n in NAMES if "chiaroscuro" in rows.get(n, ()) and "memory" not in rows[n]
        ]
        if steady and unweighed:
            detecting = memory(detector_name, picture, target, None)
            for name in unweighed:
                peak = memory(detector_name, picture, target, name)
                rows[name]["memory"] = max(0.0, peak - detecting)
                keep(file, rows)
        print(detector_name, number + 1, picture, flush=True)


def keep(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1))


def quartiles(values, digits=3):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:z.2f} to {high:z.2f})"


def middle(values, digits=0):
    values = [value for value in values if value is not None]
    return f"{np.median(values):.{digits}f}" if values else "-"


def mean(values):
    return f"{np.mean(values):z.3f} ± {np.std(values) / np.sqrt(len(values)):z.3f}"


def of_search(values):
    """What search gains, and on how many targets it does at least as well."""
    if not values or not any(values):
        return "-"
    return f"{mean(values)}, {np.mean(np.array(values) >= 0):z.0%}"


def column(rows, *keys):
    """A value of every row that has it."""
    found = []
    for row in rows:
        for key in keys:
            row = row[key] if isinstance(key, int) or key in row else None
            if row is None:
                break
        else:
            found.append(row)
    return found


def complete(detector_name):
    """The rows of every target that has those of all methods."""
    files = sorted((RUNS / detector_name).glob("*.json"))
    targets = [json.loads(file.read_text()) for file in files]
    return [rows for rows in targets if set(EVERY) <= set(rows)]


def table(detector_name):
    """Two tables, and why which method is in neither."""
    targets = complete(detector_name)
    if not targets:
        return f"### {detector_name}: no target has rows of all methods yet"
    faithful, other, refused = [], [], {}
    for name in EVERY:
        rows = [rows[name] for rows in targets if "chiaroscuro" in rows[name]]
        if not rows:
            reason = targets[0][name].get("refused", "no map has an order of pixels")
            refused.setdefault(reason, []).append(name)
            continue
        gains = {
            protocol: [
                one["search"][protocol][2] - one[name][protocol][2]
                for one in targets
                if protocol in one[name]
            ]
            for protocol in PROTOCOLS
        }
        lost = len(targets) - len(rows)
        label = name if name in NAMES else f"*{name}*"
        differences = column(rows, "chiaroscuro", 2)
        faithful.append(
            (
                np.mean(differences),
                f"{label} ({lost} without a map)" if lost else label,
                mean(differences),
                of_search(gains["chiaroscuro"]),
                quartiles(column(rows, "chiaroscuro", 0)),
                quartiles(column(rows, "chiaroscuro", 1)),
                mean(column(rows, "painting", 2)),
                of_search(gains["painting"]),
            )
        )
        other.append(
            (
                np.mean(differences),
                label,
                f"{np.mean(column(rows, 'pointing')):z.2f}",
                quartiles(column(rows, "energy"), 2),
                *(quartiles(column(rows, what), 2) for what in ("seed", "noise", "shuffled")),
                middle(column(rows, "passes")),
                middle(column(rows, "times"), 1),
                middle(column(rows, "memory")),
            )
        )
    return "\n".join(
        [
            f"### {detector_name}: {len(targets)} targets\n",
            *markdown(
                "method | overall | search gains | insertion | deletion "
                "| overall, painting protocol | search gains there",
                faithful,
            ),
            "",
            *markdown(
                "method | pointing | energy in box | another seed | slight noise "
                "| shuffled weights | passes | times a pass | memory, MiB",
                other,
            ),
            "",
            *(f"- **{', '.join(names)}**: {reason}" for reason, names in refused.items()),
        ]
    )


def beside_box(detector_name):
    """Lines: what search gains where the box does badly and well, and who else beats the box."""
    targets = complete(detector_name)
    for low, high in ((-1, 0.6), (0.6, 0.8), (0.8, 1)):
        some = [rows for rows in targets if low <= overall(rows, "box") < high]
        if not some:
            continue
        gains = [overall(rows, "search") - overall(rows, "box") for rows in some]
        won = {
            name: np.mean([overall(rows, name) > overall(rows, "box") for rows in some])
            for name in NAMES
            if name != "search"
        }
        best = max(won, key=won.get)
        yield (
            f"{detector_name}, box from {low} to {high}, {len(some)} targets: search gains "
            f"{np.mean(gains):z.3f} over it; next {best}, better than it on {won[best]:z.0%}"
        )


def overall(rows, name):
    return rows[name].get("chiaroscuro", [0, 0, -9])[2]


def markdown(header, rows):
    """Lines of a table, by the first value of its rows."""
    yield f"| {header} |"
    yield "|---" * (header.count("|") + 1) + "|"
    for _, *cells in sorted(rows, key=lambda row: -row[0]):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--steady", type=int, default=4)
    parser.add_argument("--detectors", nargs="+", default=DETECTORS, choices=DETECTORS)
    parser.add_argument("--methods", nargs="+", default=EVERY, metavar="NAME")
    parser.add_argument("--table-only", action="store_true")
    given = parser.parse_args()
    if not given.table_only:
        for one in given.detectors:
            run(one, given.pictures, given.steady, given.methods)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n\n".join(table(one) for one in DETECTORS) + "\n")
    print(*(line for one in DETECTORS for line in beside_box(one)), TABLE, sep="\n")

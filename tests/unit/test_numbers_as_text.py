"""What rounds to zero has no sign, and one target is no average."""

import re
from pathlib import Path

import pytest
import torch

import chiaroscuro
from chiaroscuro.cli.evaluate import _cell
from chiaroscuro.core.records import Proposals, Target, Truth
from chiaroscuro.figures import plots
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.metrics.stats import spread
from chiaroscuro.studies.averages import Averager

SOURCES = Path(chiaroscuro.__file__).parent


def test_no_figure_is_formatted_with_a_sign_on_zero() -> None:
    found = [
        f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
        for suffix in ("py", "html", "js")
        for path in sorted(SOURCES.rglob(f"*.{suffix}"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(r"\{[^{}\n]*:[+ ]?\.\d+[f%]\}|\"%[+ ]?\.\d+f|(?<!value)\.toFixed", line)
    ]
    assert not found, "write {value:z.3f}, in scripts fixed(value, 3): " + "\n".join(found)


def test_a_score_just_below_zero() -> None:
    assert _cell(spread([-0.0004]).describe()) == "0.000"
    assert _cell(spread([-0.0004, -0.0003]).describe()) == "0.000 (0.00-0.00)"


def test_one_value_has_no_spread() -> None:
    assert set(spread([0.25, None]).describe()) == {"n", "undefined", "mean", "median"}
    assert _cell(spread([0.25]).describe()) == "0.250"


@pytest.mark.parametrize(("n", "title"), [(1, "1 target"), (3, "median over 3 targets")])
def test_a_figure_of_one_target_shades_nothing(n: int, title: str) -> None:
    rows = [
        {
            "picture": "a",
            "target": i,
            "map": "map",
            "direction": direction,
            "fraction": [0.0, 1.0],
            "similarity": [0.1 * i, 0.9],
        }
        for i in range(n)
        for direction in ("insertion", "deletion")
    ]
    figure = plots.curves_figure(rows, "map", "chiaroscuro")
    assert title in figure.get_suptitle()
    assert all(bool(axes.collections) == (n > 1) for axes in figure.axes)


def test_nothing_is_resampled_from_one_annotated_picture() -> None:
    face, none = Truth(boxes=[[4, 4, 20, 24]]), Truth(boxes=torch.zeros(0, 4))
    found = [Proposals(boxes=[[4, 4, 20, 24]], scores=[0.9]), Proposals.empty()]
    assert average_precision(found, [face, none], n_resamples=50).ap50_interval is None
    both = average_precision([found[0]] * 2, [face, face], n_resamples=50)
    assert both.ap50_interval == pytest.approx((1, 1))


def test_the_spread_of_one_map_is_not_known() -> None:
    averager = Averager()
    image, target = torch.rand(3, 40, 56), Target(box=(20, 10, 36, 30))
    averager.add(image, torch.rand(40, 56), target)
    assert bool(averager.result().spread.isnan().all())
    averager.add(image, torch.rand(40, 56), target)
    assert float(averager.result().spread[64, 64]) > 0

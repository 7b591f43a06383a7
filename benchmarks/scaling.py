"""Time against masks, picture size and targets: straight lines, drawn.

    python benchmarks/scaling.py

CenterFace on a sample painting. Times are in detector passes of the same run: the time of a whole
``observe`` and ``explain`` over that of a bare pass. Draws ``docs/pictures/scaling.png``
and prints how well a straight line fits each.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from fit_time import seconds
from overhead import bare, picture, whole

import chiaroscuro as cs

PICTURE = Path(__file__).parent.parent / "docs/pictures/scaling.png"


def straight(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Slope, offset and R squared of the straight line through the points."""
    slope, offset = np.polyfit(x, y, 1)
    residual = np.array(y) - slope * np.array(x) - offset
    return float(slope), float(offset), float(1 - residual.var() / np.var(y))


def main() -> None:
    detector = cs.load_detector("centerface")
    image = picture(416)
    one = seconds(lambda: bare(detector, image, 50)) / 50
    masks = [50, 100, 200, 400, 800]
    by_masks = [seconds(lambda n=n: whole(detector, image, n), 2) / one for n in masks]

    sides = [320, 480, 640, 800, 960]
    by_size, bare_by_size = [], []
    for side in sides:
        large = picture(side)
        by_size.append(seconds(lambda large=large: whole(detector, large, 60), 2))
        bare_by_size.append(seconds(lambda large=large: bare(detector, large, 60), 2))
    mega = [side**2 / 1e6 for side in sides]
    at_smallest = bare_by_size[0] / 60

    evidence = cs.observe(image, detector, n_passes=500)
    corner = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)) * 330
    targets = torch.cat([corner, corner + 70], dim=1)
    counts = [1, 2, 5, 10, 20]
    by_targets = [seconds(lambda n=n: evidence.explain(targets[:n])) / one for n in counts]

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    panels = [
        (masks, by_masks, "masks", "416 x 416"),
        (mega, [t / at_smallest for t in by_size], "megapixels", "60 masks"),
        (counts, by_targets, "targets explained", "500 masks, no further pass"),
    ]
    for axis, (x, y, what, title) in zip(axes, panels, strict=True):
        slope, offset, fit = straight(x, y)
        print(f"{what}: {slope:z.3g} passes each, {offset:z.3g} at none, R2 {fit:z.4f}")
        axis.plot(x, [slope * v + offset for v in x], color="0.7")
        axis.plot(x, y, "o", color="tab:red", label="observe and explain")
        axis.set(xlabel=what, ylabel="time, in bare detector passes", title=title)
    axes[0].plot(masks, masks, ":", color="0.3", label="bare passes")
    axes[1].plot(mega, [t / at_smallest for t in bare_by_size], ":", color="0.3")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.set(xlim=(0, None), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()

"""Makes the picture of the colours: ``python docs/colours_picture.py``, two minutes.

A dark, a medium and a light painting, one face of each under its map for CenterFace, and below it
the same as seen with deuteranopia (no cones for green), the most common kind of colour blindness,
after the matrix of Machado, Oliveira and Fernandes 2009 (A physiologically-based model for
simulation of color vision deficiency, severity 1).

The paintings are CC0 (The Metropolitan Museum of Art).
"""

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.data.samples import met_faces
from chiaroscuro.figures.colours import LEGEND_GROUND, Scale, greyed, laid_over
from chiaroscuro.figures.look import DEFAULT_LOOK, GROUNDS
from chiaroscuro.figures.overlay import overlay, pixels

FILE = Path(__file__).parent / "pictures" / "colours.jpg"
PASSES, PANEL, GAP, STRIP = 200, 240, 6, 14
SHARES = (0.05, 0.5, 0.95)  # of the paintings that are darker: a dark, a medium, a light one
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def main() -> None:
    """Write the picture; print which paintings it shows."""
    detector = cs.load_detector("centerface")
    panels = []
    for title, image, face in paintings(detector):
        print(title, f"mean brightness {image.float().mean() / 255:.2f}")
        result = cs.explain(image, detector, face, n_passes=PASSES)
        scale = DEFAULT_LOOK.scale(result.saliency[0], result.standard_error[0])
        drawn = overlay(image, result.saliency[0], result.standard_error[0], scale=scale)
        print(f"  {result.fidelity_text(0)}, {scale.low:.2g} to {scale.high:.2g}")
        under = above_scale(drawn, scale)
        panels.append([reduced(pixels(image)), under, as_seen(under)])
    sheet(panels).save(FILE, quality=80, optimize=True)


def paintings(detector: cs.Detector) -> list[tuple[str, Tensor, cs.Proposals]]:
    """One painting for each share, by brightness, the face with the lowest score."""
    known = sorted(
        (
            (float(greyed(pixels(image) / 255).mean()), one, image)
            for one in met_faces()
            for image in [one.read()]
        ),
        key=lambda row: row[0],
    )
    chosen = []
    for share in SHARES:
        for _, one, image in known[int(share * (len(known) - 1)) :] + known[::-1]:
            faces = detector.detect(image[None])[0].above(0.3)
            if len(faces):
                chosen.append((one.title, image, faces[len(faces) - 1 :]))
                break
    return chosen


def reduced(pixels: np.ndarray) -> np.ndarray:
    """A picture ``height width 3`` as wide as a panel."""
    height, width = pixels.shape[:2]
    size = PANEL, round(PANEL * height / width)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def above_scale(drawn: np.ndarray, scale: Scale) -> np.ndarray:
    """A map as wide as a panel, and below it the colours of its scale."""
    strip = laid_over(np.array(to_rgb(LEGEND_GROUND)), scale.ramp(PANEL)[1])
    row = (255 * strip).round().astype(np.uint8)[None]
    return np.concatenate([reduced(drawn), np.repeat(row, STRIP, axis=0)])


def as_seen(pixels: np.ndarray) -> np.ndarray:
    """A picture ``height width 3`` with deuteranopia; the matrix is of linear light."""
    srgb = pixels / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = (light @ DEUTERANOPIA.T).clip(0, 1)
    back = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return (255 * back).round().astype(np.uint8)


def sheet(panels: list[list[np.ndarray]]) -> Image.Image:
    """A column per painting: as painted, under its map, and as seen with deuteranopia."""
    columns = [[Image.fromarray(one) for one in column] for column in panels]
    rows = [max(column[i].height for column in columns) for i in range(3)]
    whole = Image.new(
        "RGB", (len(columns) * (PANEL + GAP) - GAP, sum(rows) + 2 * GAP), GROUNDS["dark"].page
    )
    for x, column in enumerate(columns):
        for y, one in enumerate(column):
            whole.paste(one, (x * (PANEL + GAP), sum(rows[:y]) + y * GAP))
    return whole


if __name__ == "__main__":
    main()

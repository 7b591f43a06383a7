"""Makes the pictures of the pages on methods: ``python docs/methods_pictures.py``, ten minutes.

One target, the fortune-teller's face, by every method that RetinaFace allows: an overlay per
method, the whole painting and a detail, and one sheet of the details. Prints the numbers of the
captions.

The painting is CC0 (The Metropolitan Museum of Art, object 436838).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from methods_table import page_of
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.figures.look import TARGET_COLOUR
from chiaroscuro.figures.overlay import overlay
from chiaroscuro.methods import METHODS

FOLDER = Path(__file__).parent / "pictures"
PASSES = 400  # of black-box methods
DETAIL = (304, 50, 544, 250)  # the fortune-teller, and the face beside her
HEIGHT, GAP, COLUMNS, PANEL, CAPTION = 280, 6, 4, 236, 22
GROUND, INK = "#16181c", "#f2f2f2"


def main() -> None:
    """Write an overlay per method, and the sheet."""
    image = sample_painting(436838).read()
    target = fortune_teller(image)
    found = {}
    for name, result in maps(image):
        saliency = result.saliency[0]
        found[name] = overlay(image, saliency, result.standard_error[0])
        energy = cs.metrics.energy_pointing_game(saliency, target)
        values = (
            f"lowest {saliency.min():.2g}, highest {saliency.max():.2g}, sum {saliency.sum():.2g}"
        )
        print(f"{name}: {energy:.2f} of the positive map in the box, {values}; {result.settings}")
        print(*(f"  {note}" for note in result.notes), sep="\n")
    FOLDER.mkdir(exist_ok=True)
    for name, drawn in found.items():
        save(pair(drawn, target), f"method-{page_of(name)}", quality=80)
    save(sheet(found, target), "methods", quality=68)


def maps(image: Tensor) -> Iterator[tuple[str, cs.Explanation]]:
    """The target's map by every method that RetinaFace allows."""
    target = fortune_teller(image)
    black_box, white_box = (
        cs.load_detector("retinaface"),
        cs.load_detector("retinaface", form="torch"),
    )
    for name, method in METHODS.items():
        if method.needs == "black box":
            yield name, cs.explain(image, black_box, [target], method=name, n_passes=PASSES)
        elif method.needs == "gradients":
            yield name, cs.explain(image, white_box, [target], method=name)


def fortune_teller(image: Tensor) -> Target:
    """The face at the right: the last of three that RetinaFace finds."""
    faces = cs.load_detector("retinaface").detect(image[None])[0].above(0.3)
    return max(as_targets(faces), key=lambda target: float(target.box[0]))


def pair(drawn: np.ndarray, target: Target) -> Image.Image:
    """The map over the whole painting, and a detail of it."""
    whole = (0, 0, drawn.shape[1], drawn.shape[0])
    parts = [framed(drawn, part, HEIGHT, target) for part in (whole, DETAIL)]
    width = sum(part.width for part in parts) + GAP
    both = Image.new("RGB", (width, HEIGHT), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (width - parts[1].width, 0))
    return both


def sheet(pictures: dict[str, np.ndarray], target: Target) -> Image.Image:
    """The detail under every method's map."""
    x1, y1, x2, y2 = DETAIL
    high = PANEL * (y2 - y1) // (x2 - x1)
    rows = -(-len(pictures) // COLUMNS)
    size = COLUMNS * (PANEL + GAP) - GAP, rows * (high + CAPTION + GAP) - GAP
    together = Image.new("RGB", size, GROUND)
    pen, font = ImageDraw.Draw(together), ImageFont.load_default(size=14)
    for number, (name, drawn) in enumerate(pictures.items()):
        left = number % COLUMNS * (PANEL + GAP)
        top = number // COLUMNS * (high + CAPTION + GAP)
        pen.text((left + 4, top + 2), name, fill=INK, font=font)
        together.paste(framed(drawn, DETAIL, high, target), (left, top + CAPTION))
    return together


def framed(
    drawn: np.ndarray, part: tuple[int, int, int, int], height: int, target: Target
) -> Image.Image:
    """A part of a picture at a height, with the target's box."""
    x1, y1, x2, y2 = part
    scale = height / (y2 - y1)
    size = round((x2 - x1) * scale), height
    picture = Image.fromarray(drawn).crop(part).resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = (target.box - target.box.new_tensor([x1, y1, x1, y1])) * scale
    corners = [float(value) for value in (left, top, right, bottom)]
    pen.rectangle(corners, outline="black", width=3)
    inner = [corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1]
    pen.rectangle(inner, outline=TARGET_COLOUR)
    return picture


def save(picture: Image.Image, name: str, quality: int) -> None:
    """A small JPEG."""
    picture.save(FOLDER / f"{name}.jpg", quality=quality, optimize=True)


if __name__ == "__main__":
    main()

"""Makes the pictures of the tutorial and of the README: ``python docs/pictures.py``.

The tutorial shows the numbers of its pictures; the README shows the sheet of the demonstration.

The painting is CC0 (The Metropolitan Museum of Art, object 436838).
"""

from pathlib import Path

from matplotlib.figure import Figure

import chiaroscuro as cs
from chiaroscuro.core.records import as_targets
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.figures import draw

FOLDER = Path(__file__).parent / "pictures"
MISSED_FACE = [16, 88, 69, 160]


def main() -> None:
    """Write every picture as a small JPEG."""
    image = sample_painting(436838).read()
    detector = cs.load_detector("centerface")
    faces = detector.detect(image[None])[0].above(0.3)
    longer = cs.observe(image, detector, n_passes=200, seed=0)  # as many as the demo
    everything = (*as_targets(faces), *as_targets(MISSED_FACE, origin="truth"))
    evidence = longer.first(120)
    near = cs.explain(image, detector, faces[2:3], n_passes=200, closeup=True)
    found, missed = evidence.explain(faces), evidence.explain(MISSED_FACE)
    sheets = {
        "found-faces": draw.contact_sheet(image, found, faces),
        "fortune-teller": draw.contact_sheet(
            image,
            longer.explain(everything),
            faces,
            captions=["face"] * len(faces) + ["missed face"],
        ),
        "close-up": draw.target_figure(image, near, 0),
        "missed-face": draw.contact_sheet(image, missed, faces, captions=["missed face"]),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, figure in sheets.items():
        save(figure, FOLDER / f"{name}.jpg")


def save(figure: Figure, path: Path) -> None:
    """A JPEG about 1000 pixels wide."""
    figure.savefig(
        path,
        dpi=1000 / figure.get_figwidth(),
        facecolor=figure.get_facecolor(),
        pil_kwargs={"quality": 82, "optimize": True},
    )


if __name__ == "__main__":
    main()

"""The seed paper's figure 9 for both detectors, and every metric, on the sample set met-faces.

    python benchmarks/figure_9.py [centerface retinaface]

Every face found, every false alarm and every missed face of the 55 paintings is explained with the
default estimator and 150 masks; then ``chiaroscuro evaluate`` scores the maps under the painting
protocol and under ours, and the whole set's average precision. Writes benchmarks/runs/met-faces/
and docs/pictures/figure-9.png; goes on where it stopped. Twenty minutes a detector on one core.
"""

import json
import sys
from pathlib import Path

from chiaroscuro.cli import app
from chiaroscuro.data.samples import met_faces
from chiaroscuro.demo import explain_sample
from chiaroscuro.detectors import load_detector
from chiaroscuro.figures import plots

OUT = Path(__file__).parent / "runs" / "met-faces"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "figure-9.png"
N_MASKS = 150


def main() -> None:
    for name in sys.argv[1:] or ("centerface", "retinaface"):
        detector = load_detector(name)
        for painting in met_faces():
            if not (OUT / name / str(painting.id) / "manifest.json").exists():
                explain_sample(painting, detector, OUT / name, Settings(n_passes=N_MASKS))
        for protocol in ("painting", "chiaroscuro"):
            print(f"\n{name}")
            words = ["evaluate", str(OUT / name), "-a", "met-faces", "--protocol", protocol]
            app(words, standalone_mode=False)
    told = {
        name: json.loads((OUT / name / "evaluation-painting" / "evaluation.json").read_text())
        for name in ("centerface", "retinaface")
    }
    figure = plots.collections_figure({name: one["collection"] for name, one in told.items()})
    plots.save(figure, PICTURE, dpi=90)


if __name__ == "__main__":
    main()

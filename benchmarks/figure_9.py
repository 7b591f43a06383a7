"""The seed paper's figure 9 for both detectors, and every metric, on the sample set met-faces.

    python benchmarks/figure_9.py [centerface retinaface]

Every face found, every false positive and every missed face of the 55 paintings is explained with
the default estimator and 150 masks. Then ``chiaroscuro evaluate`` scores the maps under the
painting protocol and under ours, and the whole set's average precision. Writes
benchmarks/runs/met-faces/ and docs/pictures/figure-9.png; a stopped run is resumed. Twenty minutes
per detector on one core.
"""

import json
import sys
from pathlib import Path

from chiaroscuro.cli import app
from chiaroscuro.core.plan import DetectorChoice, Plan, StudySettings
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.samples import MET_FACES
from chiaroscuro.demo import MATCH_IOU
from chiaroscuro.detectors import load_detector
from chiaroscuro.figures import encode, plots
from chiaroscuro.studies.run import study

OUT = Path(__file__).parent / "runs" / "met-faces"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "figure-9.png"
N_MASKS = 150


def main() -> None:
    for name in sys.argv[1:] or ("centerface", "retinaface"):
        choice = DetectorChoice(detector=name)
        settings = StudySettings(plan=Plan(n_passes=N_MASKS), choice=choice, match_iou=MATCH_IOU)
        study(open_data_set(MET_FACES), load_detector(name), OUT / name, settings)
        for protocol in ("painting", "chiaroscuro"):
            print(f"\n{name}")
            words = ["evaluate", str(OUT / name), "-a", "met-faces", "--protocol", protocol]
            app(words, standalone_mode=False)
    written = {
        name: json.loads((OUT / name / "evaluation-painting" / "evaluation.json").read_text())
        for name in ("centerface", "retinaface")
    }
    figure = plots.collections_figure({name: one["collection"] for name, one in written.items()})
    encode.save(figure, PICTURE, dpi=90)


if __name__ == "__main__":
    main()

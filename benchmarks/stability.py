"""Do maps of another seed, fill or grid agree? And those of a detector with shuffled weights?

    python benchmarks/stability.py

RetinaFace in torch on five tenebrist paintings of the sample set, 150 masks; medians over targets
and the middle half, as ``chiaroscuro evaluate`` prints them. About ten minutes on one core.
"""

from pathlib import Path

from chiaroscuro.cli import app
from chiaroscuro.core.plan import DetectorChoice, Plan, StudySettings
from chiaroscuro.demo import MATCH_IOU, sample_set
from chiaroscuro.detectors import load_detector
from chiaroscuro.studies.run import study

OUT = Path(__file__).parent / "runs" / "stability"


def main() -> None:
    choice = DetectorChoice(detector="retinaface", options={"form": "torch"})
    settings = StudySettings(plan=Plan(n_passes=150), choice=choice, match_iou=MATCH_IOU)
    detector = load_detector("retinaface", form="torch")
    study(sample_set(), detector, OUT, settings)
    words = ["evaluate", str(OUT), "--no-baselines", "--stability", "--randomisation"]
    app(words, standalone_mode=False)


if __name__ == "__main__":
    main()

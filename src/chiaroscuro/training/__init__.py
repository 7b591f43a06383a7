"""Fine-tune a detector of ours on a data set: crops, losses, loop, folds.

Public names load on first use, so that the command line can read the settings without torch.
"""

import importlib
from typing import Any

_HOMES = {
    "Augmentation": "settings",
    "FoldResult": "folds",
    "TrainingPicture": "pictures",
    "TrainingSettings": "settings",
    "cross_validate": "folds",
    "open_trainable": "trainable",
    "precision": "measure",
    "train": "loop",
    "training_pictures": "pictures",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"chiaroscuro.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'chiaroscuro.training' has no attribute {name!r}")

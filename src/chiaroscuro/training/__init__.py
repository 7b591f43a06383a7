"""Fine-tuning of a detector on a data set: crops, losses, loop, folds."""

from chiaroscuro.training.augment import Augmentation
from chiaroscuro.training.folds import FoldResult, cross_validate
from chiaroscuro.training.loop import Step, train
from chiaroscuro.training.measure import precision
from chiaroscuro.training.pictures import TrainingPicture, training_pictures
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.trainable import open_trainable

__all__ = [
    "Augmentation",
    "FoldResult",
    "Step",
    "TrainingPicture",
    "TrainingSettings",
    "cross_validate",
    "open_trainable",
    "precision",
    "train",
    "training_pictures",
]

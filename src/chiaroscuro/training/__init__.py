"""Fine-tune a detector of ours on a data set: crops, losses, loop, folds."""

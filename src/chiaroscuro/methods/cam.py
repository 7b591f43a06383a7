"""Class activation map: the class head's log odds at every place of the features.

It is a map of the class at one scale, not of one target.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import differentiable, input_image, target_scores
from chiaroscuro.methods.features import Features, feature_layers, receptive_window, recording
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question


def cam(question: Question) -> Answer:
    """Log odds of the class that the features at every place would give, at the target's scale."""
    detector = differentiable(question.detector, "cam")
    if hasattr(detector, "class_layers"):  # those that the last layer of its head reads
        layers = tuple(detector.class_layers)
    else:
        layers = feature_layers(question, "cam")
    notes: list[Note] = []
    read: list[str | None] = []
    with target_scores(question, "cam") as scores, recording(scores.network, layers) as features:
        (raw,) = scores.propose(input_image(question))
        best = scores.best_scores(raw)

        def explain(index: int) -> Tensor | None:
            score = best[index]
            head = None if score is None else _class_head(score, features)
            read.append(head[0] if head else None)
            if head is None:
                return None
            notes[:] = [Note("one map per scale")]
            return features.enlarge(head[1], scores.extent, *question.size)

        return scores.answer(question, explain, notes, {"layers": read})


def _class_head(
    score: Float[Tensor, ""], features: Features
) -> tuple[str, Float[Tensor, "h w"]] | None:
    """The layer a score is read from, and the class head's log odds in all of its cells.

    The gradient in the one cell that the score is read from is the head's weights; the rest of the
    score's log odds is the head's bias.
    """
    odds = torch.logit(score, eps=1e-7)
    found = features.read_from(odds)
    if found is None:
        return None
    layer, gradient = found
    cells = receptive_window(gradient[0]).nonzero()
    if len(cells) != 1:
        raise UnsupportedMethodError(
            "cam",
            f"its class score is read from {len(cells)} cells of the feature map, through layers "
            "in between; CAM needs a class head that reads one cell, a 1 x 1 convolution; use "
            "gradcam",
        )
    row, column = cells[0].tolist()
    weights, output = gradient[0, :, row, column], features.outputs[layer][0]
    products = torch.einsum("c,chw->hw", weights, output).detach()
    return layer, (products - products[row, column] + odds.detach()).cpu()


CAM = Method(
    name="cam",
    title="feature maps weighted by the class head's own weights",
    family="activation",
    signed=True,
    meaning="log odds of the class that the features at this place would give",
    n_passes=1,
    source="Zhou et al. 2016, arXiv:1512.04150, section 2",
    run=cam,
)

"""Attention: where the query behind a target read.

A decoder's query gathers what it says of its object from the encoder's features, each weighed by
attention (Carion et al., DETR, ECCV 2020, arXiv:2005.12872, section 4.2 and figure 6, shows such
weights of the decoder). It is our counterpart of the soft attention by which Cetinic et al. 2019
show where a network for paintings looks.

Attention says where a query reads, not what would change its answer. The features it reads have
already seen the whole picture in the encoder, so a cell may carry evidence from elsewhere; and much
may be read that makes no difference. Ask a method that changes the picture for that.
"""

import torch

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.similarity import similarity
from chiaroscuro.detectors.protocol import Attentive
from chiaroscuro.methods.question import Answer, Question


def attention(question: Question) -> Answer:
    """For every target the attention of the query whose proposal is most similar to it.

    One pass serves all targets. A target that no proposal is similar to has a map of zeros.

    Raises:
        UnsupportedMethodError: if the detector has no queries that look at the picture.
    """
    detector = question.detector
    if not isinstance(detector, Attentive):
        raise UnsupportedMethodError(
            "attention",
            f"{detector.info.name} has no decoder whose queries look at the picture; wanted a "
            "detector with a method attend, such as transformers/facebook/detr-resnet-50, or a "
            "method that asks a black box, such as drise",
        )
    proposals, attended = detector.attend(question.image)
    if question.progress is not None:
        question.progress(1, 1)
    saliency = torch.zeros(len(question.targets), *question.size, dtype=torch.float32)
    notes = []
    for i, scores in enumerate(similarity(question.targets, proposals)):
        if bool(scores.any()):
            saliency[i] = attended(int(scores.argmax()))
        else:
            notes.append(
                f"target {i + 1}: the detector reports nothing of its class that overlaps the box, "
                "so there is no query to look behind; the map is zero because there is no "
                "evidence, not because nothing matters. Draw the box where the detector reports "
                "something"
            )
    return Answer(saliency=saliency, passes=1, notes=tuple(notes))

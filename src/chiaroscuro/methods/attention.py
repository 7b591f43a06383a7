"""Attention: where the query behind a target reads the picture.

A decoder's query gathers the features that describe its object, each weighted by attention. It is
our counterpart of the soft attention by which Cetinic et al. 2019 show where a network for
paintings looks.

Attention shows where a query reads, not what would change its answer. The features have already
seen the whole picture in the encoder, so a cell may carry evidence from elsewhere; and a query may
read much that makes no difference. Methods that change the picture measure that.
"""

import torch

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.similarity import similarity
from chiaroscuro.detectors.protocol import Attentive
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question


def attention(question: Question) -> Answer:
    """For every target the attention of the query whose proposal is most similar to it.

    One pass serves all targets. A target that no proposal is similar to has a map of zeros.
    """
    detector = question.detector
    if not isinstance(detector, Attentive):
        raise UnsupportedMethodError(
            "attention",
            f"{detector.info.name} has no decoder whose queries look at the picture; wanted a "
            "detector with a method attend, such as transformers/facebook/detr-resnet-50, or use a "
            "black-box method, such as drise",
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
            notes.append(Note("no query", i + 1))
    return Answer(saliency=saliency, n_passes=1, notes=tuple(notes))


ATTENTION = Method(
    name="attention",
    title="where the decoder's query behind the target looks",
    family="attention",
    meaning="attention per cell of the query behind the target; the cells sum to 1",
    n_passes=1,
    shared=True,
    source="Carion et al. 2020, arXiv:2005.12872, section 4.2; after Cetinic et al. 2019",
    run=attention,
)

"""Grad-CAM: feature maps weighted by their mean gradient, through torchcam.

A detector slides one head over several layers, one per scale. The Grad-CAMs are of the layer that
the target is read from, found by the gradient, and of the window that its score is computed from:
the head sees no more of the picture. Without the window a map would be one of the class, highest at
the strongest object of that size. The fit of the proposal's box is held constant: its gradient
would be the larger one, and show which features move the box.
"""

from contextlib import ExitStack
from dataclasses import replace

from torch import Tensor

from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import input_image, target_scores
from chiaroscuro.methods.features import feature_layers, receptive_window, recording
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question


def gradcam(question: Question) -> Answer:
    """Positive part of the features' sum, weighted by the mean gradient of their channel."""
    from torchcam.methods import GradCAM

    layers = feature_layers(question, "gradcam")
    read: list[str | None] = []
    with (
        target_scores(question, "gradcam", follow_boxes=False) as scores,
        recording(scores.network, layers) as features,
        ExitStack() as stack,
    ):
        extractors = {
            layer: stack.enter_context(GradCAM(scores, f"network.{layer}")) for layer in layers
        }
        weights = scores(input_image(question))

        def explain(index: int) -> Tensor | None:
            found = features.read_from(weights[0, index])
            read.append(found[0] if found else None)
            if found is None:
                return None
            layer, gradient = found
            (cells,) = extractors[layer](index, weights, normalized=False, retain_graph=True)
            shown = (cells[0] * receptive_window(gradient[0])).cpu()
            return features.enlarge(shown, scores.extent, *question.size)

        return with_notes_on_peaks(question, scores.answer(question, explain, (), {"layers": read}))


def with_notes_on_peaks(question: Question, answer: Answer) -> Answer:
    """The answer with a note on every target whose map is highest outside its box."""
    notes = []
    for number, (target, one) in enumerate(
        zip(question.targets, answer.saliency, strict=True), start=1
    ):
        row, column = divmod(int(one.argmax()), one.shape[1])
        x1, y1, x2, y2 = target.box.tolist()
        inside = x1 - 1 < column < x2 and y1 - 1 < row < y2
        if bool(one.any()) and not inside:
            notes.append(Note("highest outside", number))
    return replace(answer, notes=(*answer.notes, *notes))


GRADCAM = Method(
    name="gradcam",
    title="feature maps weighted by their mean gradient",
    family="activation",
    needs="gradients",
    meaning="positive part of the features' sum, weighted by their mean gradient",
    n_passes=1,
    packages=("torchcam",),
    source="Selvaraju et al. 2017, arXiv:1610.02391, section 3",
    run=gradcam,
)

"""Does a map depend on what the detector learned? Its weights are destroyed, part after part.

A map that stays the same while the network behind it forgets everything shows the picture, not the
detector. From the output backwards, as the cascading test of Adebayo et al., Sanity Checks for
Saliency Maps, NeurIPS 2018, arXiv:1810.03292, section 3.1. The entries of every parameter are
shuffled rather than drawn anew: that keeps each layer's scale, so that signals neither die out nor
overflow for reasons that have nothing to do with what was learned.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import TargetsLike, as_targets
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import torch_form, torch_network
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe, usable_image
from chiaroscuro.metrics.agreement import Agreement, agreement_or_none


@dataclass(frozen=True, slots=True)
class RandomisedStage:
    """Maps of a detector whose last parts have forgotten what they learned.

    Attributes:
        share: of all parameters, in (0, 1], how many were shuffled.
        layer: the earliest layer among them.
        mean_weight: one a target, in [0, 1]: mean of the mask weights; 0 where the detector no
            longer reports anything near it; None for a method without masks.
        agreement: one a target, with the untouched detector's map; None where either map is
            constant, as it is when the target is no longer seen at all.
    """

    share: float
    layer: str
    mean_weight: tuple[float | None, ...]
    agreement: tuple[Agreement | None, ...]


def randomised(
    detector: Any, stages: int = 4, seed: int = 0
) -> Iterator[tuple[float, str, Detector]]:
    """The detector with more and more of its weights shuffled, from its last layer to its first.

    Layers are taken in the order in which the network registers them, which is that of the forward
    pass in every network we know. The detector itself is left as it is.

    Args:
        detector: one that runs a torch network, or anything ``load_detector`` takes.
        stages: how many, each of an equal share of the layers; at most one a layer.
        seed: of the shuffling.

    Yields:
        Share of the parameters shuffled so far, the earliest layer among them, and the detector.

    Raises:
        InputError: if the detector has no torch network with weights, or stages is below 1.
    """
    changed = copy.deepcopy(torch_form(load_detector(detector)))
    network = torch_network(changed)
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    if stages < 1 or not layers:
        raise InputError(
            f"stages: wanted at least 1, of a network with weights; got {stages} of {len(layers)} "
            "layers"
        )
    stages = min(stages, len(layers))
    total = sum(parameter.numel() for parameter in network.parameters())
    generator = torch.Generator().manual_seed(seed)
    done = 0
    end = len(layers)
    for stage in range(1, stages + 1):
        start = len(layers) - round(stage * len(layers) / stages)
        for _, layer in reversed(layers[start:end]):
            done += _shuffle(layer, generator)
        end = start
        yield done / total, layers[start][0], changed


def randomisation(
    image: Any,
    detector: Any,
    targets: TargetsLike,
    *,
    reference: Explanation | None = None,
    explain: Callable[[Detector], Explanation] | None = None,
    stages: int = 4,
    n_masks: int = 150,
    seed: int = 0,
    design: MaskDesign | None = None,
    estimator: str = "surrogate",
    batch_size: int | None = None,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[RandomisedStage]:
    """Maps of ever more randomised detectors, under the same masks, beside the real one.

    By D-RISE, unless told otherwise: ``n_masks`` detector passes a stage, and as many for the
    reference.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: one that runs a torch network, or anything ``load_detector`` takes.
        targets: what was explained.
        reference: the real detector's maps, made in the same way; made when not given.
        explain: makes maps of the targets, of any detector, for a method other than D-RISE; what
            follows but ``stages`` and ``seed`` is then of no account.
        stages: as for ``randomised``.
        n_masks: of every map.
        seed: of the masks and of the shuffling.
        design: of the masks.
        estimator: of every map.
        batch_size: pictures a detector call.
        progress: called after every batch with the name of the stage.

    Raises:
        InputError: as ``randomised`` does.
    """
    image, detector = usable_image(image), load_detector(detector)
    height, width = image.shape[1:]
    wanted = tuple(target.inside(height, width) for target in as_targets(targets))
    design = design or MaskDesign()

    def maps(name: str, its_detector: Detector) -> Explanation:
        if explain is not None:
            return explain(its_detector)
        evidence = observe(
            image,
            its_detector,
            n_masks=n_masks,
            seed=seed,
            design=design,
            batch_size=batch_size,
            progress=None if progress is None else lambda done: progress(name, done),
        )
        return evidence.explain(wanted, estimator=estimator)

    if reference is None:
        reference = maps("reference", detector)
    rows = []
    for share, layer, changed in randomised(detector, stages, seed):
        result = maps(f"{share:z.0%} randomised", changed)
        agreements = tuple(
            agreement_or_none(reference.saliency[i], result.saliency[i], target)
            for i, target in enumerate(wanted)
        )
        weights = tuple(None if math.isnan(w) else w for w in result.mean_weight.tolist())
        rows.append(RandomisedStage(share, layer, weights, agreements))
    return rows


def _shuffle(layer: nn.Module, generator: torch.Generator) -> int:
    count = 0
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator)
            values = parameter.flatten()[order.to(parameter.device)]
            parameter.copy_(values.view(parameter.shape))
            count += parameter.numel()
    return count

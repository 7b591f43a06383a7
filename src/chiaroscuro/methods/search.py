"""Search for the order of pixels that restores a target soonest.

A map is an order of pixels. A good one restores the target in a blurred picture with the first
pixels that are shown (insertion), and loses it with the first that are hidden (deletion): the aim
of VX-CODE, which finds an order by trying every next patch. Here the weights of some hundred such
pictures are fitted by a model, and the next pictures are those where its order is uncertain:

1. Start from our own D-RISE map and the box.
2. Draw orders near the present one, and for each a share of its first pixels, all shares equally
   likely, as in the area under a curve. Run the detector with these shown and the rest blurred, and
   the other way round: one step of an insertion and of a deletion curve.
3. Fit the model (see ``search_model``) to all weights so far; order by its density; draw nearer to
   it; repeat.
4. Measure a few steps of the curves of five orders, and keep the best: from the model's, through
   models that trust the weights less and the box more, to the box's own. A region is coarse beside
   a face; the box is hard to beat on a face that is seen well, and easy on one that is hardly seen.

The search optimises insertion and deletion, so those figures flatter it: they show how little
evidence suffices, not that the detector would miss nothing else.
"""

from dataclasses import replace

import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note
from chiaroscuro.methods.method import BLACK_BOX_PASSES, Method
from chiaroscuro.methods.question import Answer, Question
from chiaroscuro.methods.search_model import PROTOCOL, REGION_PRECISION, SearchModel

_ROUND = 24  # pictures between two fits
_SPREAD = (2.0, 1.0, 0.5)  # of the random orders, in spreads of the density; early, middle, late
_SMALLEST, _LARGEST = 0.2, 0.9  # shares shown: in box areas, in pictures
_CHECKED = (0.25, 0.5, 1.0, 2.0), (0.1, 0.3, 0.6)  # where curves are checked, likewise
_ORDERS = {  # checked beside the box's: precision of a region, pull to the box
    "the model": (REGION_PRECISION, 0.0),
    "the model, its regions held nearer to 0": (3.0, 0.0),
    "the model, pulled to the box": (REGION_PRECISION, 1.0),
    "the model, its regions held nearer to 0, pulled to the box": (6.0, 1.0),
}
_BOX = "the box from its middle outwards"
_CHECKS = 2 * (1 + len(_ORDERS)) * sum(len(points) for points in _CHECKED)
_LEAST = 2 + _ROUND + _CHECKS  # passes per target


def search(question: Question) -> Answer:
    """The density that orders the pixels best, one target after the other."""
    observed = question.evidence.n_masks if question.evidence else 0
    each = (question.n_passes - observed) // len(question.targets)
    if each < _LEAST:
        raise InputError(
            f"search: wanted at least {_LEAST} passes for each of {len(question.targets)} targets "
            f"beside the masks it starts from, got {max(0, question.n_passes - observed)} for all; "
            "400 per target are usual"
        )
    if question.evidence is None or not observed:
        raise InputError("evidence: wanted at least one mask to start from, got none")
    ours = question.evidence.explain(question.targets, estimator=question.plan.estimator).saliency
    maps, winners, notes, passes = [], [], [], observed
    for i, target in enumerate(question.targets):
        model = SearchModel(replace(question, targets=(target,)), ours[i], each)
        winner, saliency = _best_order(model, each, question.plan.seed + i)
        winners.append(winner)
        maps.append(saliency)
        passes += model.detector.passes
        if not bool(maps[-1].any()):
            notes.append(Note("nothing reported", i + 1, n_passes=model.detector.passes))
        elif winner == _BOX:
            notes.append(Note("no better order", i + 1, order=winner))
    return Answer(
        saliency=torch.stack(maps),
        n_passes=passes,
        notes=tuple(notes),
        choices={"protocol": PROTOCOL, "orders": winners},
    )


def _best_order(
    model: SearchModel, n_passes: int, seed: int
) -> tuple[str, Float32[Tensor, "height width"]]:
    """The best of the orders, by name, and its density."""
    generator = torch.Generator().manual_seed(seed)
    everything = torch.ones(model.size, dtype=torch.bool)
    model.observe([everything, ~everything])
    density = model.start()
    rounds = max(1, (n_passes - 2 - _CHECKS) // _ROUND)
    for number in range(rounds):
        spread = _SPREAD[number * len(_SPREAD) // rounds]
        model.observe(_random_pictures(model, density, spread, generator))
        if not any(model.weights):
            return "none", torch.zeros(model.size, dtype=torch.float32)
        density = model.fitted()
    orders = {
        name: model.pulled_to_box(model.fitted(precision), pull)
        for name, (precision, pull) in _ORDERS.items()
    }
    orders[_BOX] = model.box
    gains = {name: model.gain_of(order, *_CHECKED) for name, order in orders.items()}
    winner = max(gains, key=lambda name: gains[name])
    return winner, orders[winner].float()


def _random_pictures(
    model: SearchModel, density: Tensor, spread: float, generator: torch.Generator
) -> list[Tensor]:
    """Pictures of one round: first pixels of orders near the present one, and all but those."""
    height, width = model.size
    low = min(_SMALLEST * model.box_share, _LARGEST)
    noise = spread * model.spread_of(density)
    shown = []
    for i in range(_ROUND // 2):
        moved = torch.randn(model.n_regions, generator=generator, dtype=torch.float64) * noise
        place = (i + float(torch.rand(1, generator=generator, dtype=torch.float32))) / (_ROUND // 2)
        share = low + (_LARGEST - low) * place
        values = density + moved[model.regions]
        hidden = round((1 - share) * height * width)
        lowest = values.flatten().kthvalue(min(max(1, hidden + 1), height * width)).values
        first = values >= lowest
        shown += [first, ~first]
    return shown


SEARCH = Method(
    name="search",
    title="the order of pixels that restores the target soonest, found by search",
    family="search",
    signed=True,
    meaning="change of the weight's log odds when the pixel is shown, by a fitted model",
    n_passes=BLACK_BOX_PASSES,
    random=True,
    observes=0.1,
    packages=("skimage",),
    source="ours; the aim is that of Yamauchi et al. 2026, arXiv:2412.00666",
    run=search,
)

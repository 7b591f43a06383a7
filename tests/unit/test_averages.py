"""Average maps: what several targets share is shown, what one alone says is not."""

import torch

from chiaroscuro.core.records import as_targets
from chiaroscuro.report import cards
from chiaroscuro.studies.averages import Averager

(TARGET,) = as_targets([[20, 10, 44, 34]])


def averaged(maps: list[torch.Tensor]) -> Averager:
    averager = Averager()
    for saliency in maps:
        averager.add(torch.rand(3, 48, 64), saliency, TARGET)
    return averager


def noisy(n: int, signal: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(n, 48, 64, generator=generator)
    maps[:, 16:28, 26:38] += signal
    return list(maps)


def test_one_target_has_no_standard_error_and_shows_nothing() -> None:
    result = averaged(noisy(1, 9.0)).result()
    assert bool(result.standard_error.isinf().all())
    made = cards.AverageCard.make(result).describe()
    assert made["legend"]["blank"]
    assert "A single target" in made["legend"]["words"]


def test_the_standard_error_is_that_of_a_mean() -> None:
    maps = noisy(50, 9.0)
    result = averaged(maps).result()
    crops = torch.stack([averaged([one]).result().saliency for one in maps])
    expected = crops.std(dim=0, correction=1) / 50**0.5
    reached = result.count > 1
    assert bool(result.standard_error[~reached].isinf().all())
    torch.testing.assert_close(
        result.standard_error[reached], expected[reached], rtol=1e-3, atol=1e-5
    )
    made = cards.AverageCard.make(result).describe()
    assert not made["legend"]["blank"]
    assert "Vermilion" in made["legend"]["words"]
    assert made["legend"]["unit"] == "mean share of each map's highest value"

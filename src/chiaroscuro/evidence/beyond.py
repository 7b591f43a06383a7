"""What passes in a window cannot see: evidence beyond it, and how it changes what is inside.

The full passes of the certificate have both weights under the same masks. Their difference is what
the window misses, so its map, by the same surrogate, is added. That map is weighed by the
probability that there is anything in it: it is next to nothing where the difference is noise.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from chiaroscuro.core.records import Target
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.estimators import Estimate
from chiaroscuro.evidence.surrogate import Surrogate
from chiaroscuro.store.schema import Certificate

if TYPE_CHECKING:
    from chiaroscuro.evidence.evidence import Evidence


def with_beyond(
    estimate: Estimate,
    whole: "Evidence",
    part: "Evidence",
    target: Target,
    certificate: Certificate,
) -> Estimate:
    """The surrogate's estimate from a window, with what full passes add to it.

    Beyond the window, the standard error is that of the covariance of the missed weight and a mask.
    The fidelity is that of the window times the certificate's correlation, since it is of the map
    that full passes would give.
    """
    n = certificate.n_masks
    full, cut = (one.first(n).weights([target]) for one in (whole, part))
    missed = full - cut
    pixels = as_unit_floats(whole.image[None])[0]
    added = Surrogate(whole.masks, pixels, (missed + 1) / 2).fit(0, target)  # in [0, 1]
    variance = estimate.standard_error.square() + (2 * added.standard_error).square()
    keep = whole.design.keep_probability
    beyond = torch.full_like(variance, keep * (1 - keep) * float(missed.var()) / n)
    part.window.of(beyond).zero_()
    return replace(
        estimate,
        saliency=estimate.saliency + 2 * added.saliency,
        standard_error=(variance + beyond).sqrt(),
        fidelity=estimate.fidelity * max(0.0, certificate.correlation),
    )

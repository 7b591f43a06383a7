"""Every method by name; each is declared beside its code.

The families are those of Bengamra et al. 2023, figure 1: perturbation methods change the picture
and measure the detector's answer; gradient and activation methods use the network's internals. Two
more are attention, and search, which chooses what to change from the answers so far.
"""

from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.methods.attention import ATTENTION
from chiaroscuro.methods.cam import CAM
from chiaroscuro.methods.drise import DRISE, RISE
from chiaroscuro.methods.excitation import EXCITATION_BACKPROP
from chiaroscuro.methods.gradcam import GRADCAM, GRADCAM_PLUS_PLUS, SMOOTH_GRADCAM_PLUS_PLUS
from chiaroscuro.methods.gradient import (
    GRADIENT_X_INPUT,
    INTEGRATED_GRADIENTS,
    SALIENCY,
    SMOOTHGRAD,
)
from chiaroscuro.methods.guided import GUIDED_BACKPROP
from chiaroscuro.methods.lime import KERNELSHAP, LIME
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.occlusion import OCCLUSION
from chiaroscuro.methods.search import SEARCH

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        DRISE,
        RISE,
        OCCLUSION,
        LIME,
        KERNELSHAP,
        SEARCH,
        SALIENCY,
        GRADIENT_X_INPUT,
        SMOOTHGRAD,
        INTEGRATED_GRADIENTS,
        GUIDED_BACKPROP,
        EXCITATION_BACKPROP,
        CAM,
        GRADCAM,
        GRADCAM_PLUS_PLUS,
        SMOOTH_GRADCAM_PLUS_PLUS,
        ATTENTION,
    )
}


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise UnknownNameError("method", name, list(METHODS))
    return METHODS[name]

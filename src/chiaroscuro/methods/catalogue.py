"""Every method as data: what kind it is, what its values mean, what it needs of a detector.

The families are those of Bengamra et al. 2023, figure 1: perturbation methods change the picture
and watch the answer; gradient and activation methods look inside the network. To them come
attention, and search, which chooses what to change by the answers so far.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from chiaroscuro.core.errors import MissingDependencyError, UnknownNameError
from chiaroscuro.core.install import install_hint
from chiaroscuro.methods.differentiable import differentiable
from chiaroscuro.methods.question import Answer, Question

Family = Literal["perturbation", "search", "gradient", "activation", "attention"]
Need = Literal["black box", "gradients", "attention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to explain a target.

    Attributes:
        name: as users type it.
        title: the idea in a line.
        family: its place in the taxonomy.
        needs: ``"black box"``: any detector will do; ``"gradients"``: a ``Differentiable`` one;
            ``"attention"``: an ``Attentive`` one.
        signed: whether negative values mean something: pixels that speak against the target.
        meaning: what one unit of its map is.
        budget: detector passes it takes unless told otherwise.
        shared: whether the same passes serve all targets of a picture.
        drawn: whether it draws at random, so that another seed gives another map.
        observes: the share of its budget that is a D-RISE run, whose evidence can be used again.
        packages: optional packages it runs on, by their import names.
        source: where it comes from.
        run: ``module:function`` of a function ``Question -> Answer``, imported when first used.
    """

    name: str
    title: str
    family: Family
    needs: Need = "black box"
    signed: bool = False
    meaning: str
    budget: int
    shared: bool = False
    drawn: bool = False
    observes: float | int = 0
    packages: tuple[str, ...] = ()
    source: str
    run: str

    def answer(self, question: Question) -> Answer:
        """Ask it.

        Raises:
            MissingDependencyError: if a package it runs on is not installed.
            UnsupportedMethodError: if the detector is not one it can look into.
        """
        if self.needs == "gradients":  # said before the user installs anything in vain
            question = replace(question, detector=differentiable(question.detector, self.name))
        self.check_packages()
        module, _, function = self.run.partition(":")
        run: Callable[[Question], Answer] = getattr(
            importlib.import_module(f"chiaroscuro.methods.{module}"), function
        )
        return run(question)

    def check_packages(self) -> None:
        """Raise MissingDependencyError if a package it runs on is not installed."""
        for name in self.packages:
            if importlib.util.find_spec(name) is None:
                raise MissingDependencyError(
                    f"method {self.name}: wanted the package {name}, which is not installed; "
                    f"{install_hint('methods')}"
                )

    def describe(self) -> dict[str, Any]:
        """What a reader of results wants to know of it, as plain JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "family": self.family,
            "needs": self.needs,
            "signed": self.signed,
            "meaning": self.meaning,
            "source": self.source,
        }


_BLACK_BOX = 400  # passes of methods that ask only: all the same, so that they can be compared

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="drise",
            title="random masks, weighted by how much of the target the detector still reports",
            family="perturbation",
            signed=True,
            meaning="covariance of mask weight and mask",
            budget=_BLACK_BOX,
            shared=True,
            drawn=True,
            observes=1,
            source="Petsiuk et al. 2021, arXiv:2006.03204; our estimator",
            run="drise:drise",
        ),
        Method(
            name="rise",
            title="random masks, weighted by the highest score of the class anywhere",
            family="perturbation",
            signed=True,
            meaning="mean highest score where masks show the pixel, less that of all masks",
            budget=_BLACK_BOX,
            shared=True,
            drawn=True,
            observes=1,
            source="Petsiuk et al. 2018, arXiv:1806.07421",
            run="drise:rise",
        ),
        Method(
            name="occlusion",
            title="a window is slid over the picture and hides it",
            family="perturbation",
            signed=True,
            meaning="fall of the target's weight, mean over the windows that hide the pixel",
            budget=_BLACK_BOX,
            shared=True,
            source="Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2",
            run="occlusion:occlusion",
        ),
        Method(
            name="lime",
            title="superpixels are hidden at random; a sparse linear model predicts the answers",
            family="perturbation",
            signed=True,
            meaning="weight of the pixel's superpixel in a sparse linear model of the answers",
            budget=_BLACK_BOX,
            shared=True,
            drawn=True,
            packages=("captum", "skimage", "sklearn"),
            source="Ribeiro et al. 2016, arXiv:1602.04938",
            run="lime:lime",
        ),
        Method(
            name="kernelshap",
            title="Shapley values of superpixels by a weighted linear regression",
            family="perturbation",
            signed=True,
            meaning="Shapley value of the pixel's superpixel",
            budget=_BLACK_BOX,
            shared=True,
            drawn=True,
            packages=("captum", "skimage", "sklearn"),
            source="Lundberg and Lee 2017, arXiv:1705.07874, section 4.1",
            run="lime:kernelshap",
        ),
        Method(
            name="search",
            title="the order of pixels that brings the target back soonest, found by asking",
            family="search",
            signed=True,
            meaning="what showing the pixel adds to the log odds of the weight, in a model",
            budget=_BLACK_BOX,
            drawn=True,
            observes=0.1,
            packages=("skimage",),
            source="ours; the aim is that of Yamauchi et al. 2026, arXiv:2412.00666",
            run="search:search",
        ),
        Method(
            name="saliency",
            title="gradient of the target's weight",
            family="gradient",
            needs="gradients",
            meaning="largest change of the weight a unit of brightness, over the three channels",
            budget=1,
            packages=("captum",),
            source="Simonyan et al. 2014, arXiv:1312.6034, section 3",
            run="gradient:saliency",
        ),
        Method(
            name="gradient-x-input",
            title="gradient times the picture",
            family="gradient",
            needs="gradients",
            signed=True,
            meaning="gradient x brightness, summed over the channels",
            budget=1,
            packages=("captum",),
            source="Shrikumar et al. 2016, arXiv:1605.01713",
            run="gradient:gradient_x_input",
        ),
        Method(
            name="smoothgrad",
            title="gradients of noisy copies, averaged",
            family="gradient",
            needs="gradients",
            meaning="mean over noisy copies of the gradient's size, largest over the channels",
            budget=50,
            drawn=True,
            packages=("captum",),
            source="Smilkov et al. 2017, arXiv:1706.03825",
            run="gradient:smoothgrad",
        ),
        Method(
            name="integrated-gradients",
            title="gradients along the way from a black picture",
            family="gradient",
            needs="gradients",
            signed=True,
            meaning="share of the weight's rise above that of the filled picture; they sum to it",
            budget=100,
            packages=("captum",),
            source="Sundararajan et al. 2017, arXiv:1703.01365",
            run="gradient:integrated_gradients",
        ),
        Method(
            name="guided-backprop",
            title="gradient of which only positive parts pass each activation",
            family="gradient",
            needs="gradients",
            meaning="largest positive part of the gradient over the three channels",
            budget=1,
            source="Springenberg et al. 2015, arXiv:1412.6806, section 3.4",
            run="guided:guided_backprop",
        ),
        Method(
            name="excitation-backprop",
            title="the winner's probability handed down along positive weights",
            family="gradient",
            needs="gradients",
            meaning="share of the score that comes from the pixel; they sum to what is not lost",
            budget=1,
            source="Zhang et al. 2018, arXiv:1608.00507, section 3",
            run="excitation:excitation_backprop",
        ),
        Method(
            name="cam",
            title="feature maps weighted by the class head's own weights",
            family="activation",
            needs="gradients",
            signed=True,
            meaning="log odds of the class that the features at this place would give",
            budget=1,
            source="Zhou et al. 2016, arXiv:1512.04150, section 2",
            run="activation:cam",
        ),
        Method(
            name="gradcam",
            title="feature maps weighted by their mean gradient",
            family="activation",
            needs="gradients",
            meaning="positive part of the features' sum, weighted by their mean gradient",
            budget=1,
            packages=("torchcam",),
            source="Selvaraju et al. 2017, arXiv:1610.02391, section 3",
            run="activation:gradcam",
        ),
        Method(
            name="gradcam++",
            title="feature maps weighted by their positive gradients, pixel by pixel",
            family="activation",
            needs="gradients",
            meaning="positive part of the features' sum, weighted by their positive gradients",
            budget=1,
            source="Chattopadhay et al. 2018, arXiv:1710.11063, section 3",
            run="activation:gradcam_plus_plus",
        ),
        Method(
            name="smooth-gradcam++",
            title="Grad-CAM++ with gradients averaged over noisy copies",
            family="activation",
            needs="gradients",
            meaning="positive part of the features' sum, weighted by mean positive gradients",
            budget=12,
            drawn=True,
            source="Omeiza et al. 2019, arXiv:1908.01224",
            run="activation:smooth_gradcam_plus_plus",
        ),
        Method(
            name="attention",
            title="where the decoder's query behind the target looks",
            family="attention",
            needs="attention",
            meaning="attention a cell by the query behind the target; the cells sum to 1",
            budget=1,
            shared=True,
            source="Carion et al. 2020, arXiv:2005.12872, section 4.2; after Cetinic et al. 2019",
            run="attention:attention",
        ),
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

"""Maps, their legends and differences, and detections in changed paintings."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import legends
from chiaroscuro.figures.colours import Scale
from chiaroscuro.figures.encode import jpeg
from chiaroscuro.figures.overlay import pixels
from chiaroscuro.metrics.difference import MapDifference
from chiaroscuro.report.cards import closeup_cards
from chiaroscuro.web import layers
from chiaroscuro.web.api.requests import read_body, read_query
from chiaroscuro.web.bodies import ChangeBody, DifferenceQuery, MapQuery, TargetsBody
from chiaroscuro.web.workbench import painting_of, workbench_of


async def explain(request: Request) -> Response:
    """Results for boxes from the evidence there is, without masked detector passes."""
    painting, body = painting_of(request), await read_body(request, TargetsBody)
    workbench = workbench_of(request)
    workbench.detectors.check(*body.detectors)

    def results() -> dict[str, Any]:
        return {
            name: [painting.result(name, target) for target in body.targets]
            for name in body.detectors
        }

    return JSONResponse({"answers": await workbench.live(results)})


def map_layer(request: Request) -> Response:
    """A map as a layer over the painting."""
    explanation, scale = _map(request)
    layer = layers.map_layer(explanation.saliency[0], explanation.standard_error[0], scale)
    return Response(layer, media_type="image/png")


def map_legend(request: Request) -> Response:
    """The legend of the same layer, in numbers and words."""
    explanation, scale = _map(request)
    return JSONResponse(legends.map_legend(scale, explanation))


def difference_layer(request: Request) -> Response:
    """The difference of two detectors' maps as a layer over the painting."""
    return Response(layers.difference_layer(_difference(request)[0]), media_type="image/png")


def difference_legend(request: Request) -> Response:
    """The legend of the same layer."""
    return JSONResponse(legends.difference_legend(*_difference(request)))


def closeup(request: Request) -> Response:
    """A close-up under its map, with the box."""
    query = read_query(request, MapQuery)
    painting = painting_of(request)
    made = closeup_cards(
        painting.picture.image, painting.explain(query.detector, query.target), 0, query.look
    )
    if made is None:
        raise HTTPException(404, "There is no close-up of this face yet. Explain it first.")
    return Response(jpeg(made[1].pixels), media_type="image/jpeg")


async def changed(request: Request) -> Response:
    """The painting with its most salient pixels inserted or deleted."""
    painting, query = painting_of(request), read_query(request, ChangeBody)

    def make() -> bytes:
        image = painting.changed(query.detector, query.target, query.direction, query.share)
        return jpeg(pixels(image))

    return Response(await workbench_of(request).live(make), media_type="image/jpeg")


async def live(request: Request) -> Response:
    """What the detector finds in that painting."""
    painting, body = painting_of(request), await read_body(request, ChangeBody)

    def find() -> dict[str, float]:
        image = painting.changed(body.detector, body.target, body.direction, body.share)
        return painting.best_match(body.detector, body.target, image)

    return JSONResponse(await workbench_of(request).live(find))


def _map(request: Request) -> tuple[Explanation, Scale]:
    query = read_query(request, MapQuery)
    explanation = painting_of(request).explain(query.detector, query.target)
    scale = query.look.scale(explanation.saliency[0], explanation.standard_error[0])
    return explanation, scale


def _difference(request: Request) -> tuple[MapDifference, list[str]]:
    query = read_query(request, DifferenceQuery)
    return painting_of(request).difference(query.detectors, query.target), query.detectors


_PAINTING = "/api/pictures/{picture}"
ROUTES = [
    Route(f"{_PAINTING}/explain", explain, methods=["POST"]),
    Route(f"{_PAINTING}/map.png", map_layer),
    Route(f"{_PAINTING}/map.json", map_legend),
    Route(f"{_PAINTING}/difference.png", difference_layer),
    Route(f"{_PAINTING}/difference.json", difference_legend),
    Route(f"{_PAINTING}/closeup.jpg", closeup),
    Route(f"{_PAINTING}/changed.jpg", changed),
    Route(f"{_PAINTING}/live", live, methods=["POST"]),
]

"""Run folders of ``study``."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chiaroscuro.web.layers import jpeg_response
from chiaroscuro.web.workbench import workbench_of


def table(request: Request) -> Response:
    """The targets of a run folder."""
    return JSONResponse(workbench_of(request).runs.table(request.path_params["run"]))


def card(request: Request) -> Response:
    """One target of a run folder under its map."""
    path = request.path_params
    return jpeg_response(
        workbench_of(request).runs.card(path["run"], path["picture"], path["target"])
    )


ROUTES = [
    Route("/api/runs/{run:int}", table),
    Route("/api/runs/{run:int}/{picture}/{target:int}.jpg", card),
]

"""Files to download."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chiaroscuro.web.api.requests import read_query
from chiaroscuro.web.bodies import ExportQuery
from chiaroscuro.web.exports import FILES, export
from chiaroscuro.web.workbench import painting_of, workbench_of


def download(request: Request) -> Response:
    """One file of an explanation."""
    painting, name = painting_of(request), request.path_params["name"]
    if name not in FILES:
        raise HTTPException(404, f"There is no file {name}. Choose one of {', '.join(FILES)}.")
    query = read_query(request, ExportQuery)
    workbench_of(request).detectors.check(*query.detectors)
    content = export(name, painting, query.detectors, query.targets, query.look)
    stem = Path(painting.picture.source).stem or "picture"
    ascii_stem = "".join(c if c.isalnum() and c.isascii() else "-" for c in stem)
    disposition = f'attachment; filename="{ascii_stem}-{name}"'
    return Response(content, media_type=FILES[name], headers={"content-disposition": disposition})


ROUTES = [Route("/api/pictures/{picture}/export/{name}", download)]

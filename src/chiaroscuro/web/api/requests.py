"""Reading requests."""

import io
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from chiaroscuro.core.declared import read
from chiaroscuro.store.bundle import parse_json

_JSON_BYTES = 64_000
T = TypeVar("T")


async def read_bytes(request: Request, limit: int) -> bytes:
    """The request's body; status 413 as soon as it is larger than the limit."""
    stated = request.headers.get("content-length", "0")
    content = io.BytesIO()
    if not stated.isdecimal() or (len(stated) < 20 and int(stated) <= limit):
        async for part in request.stream():
            content.write(part)
            if content.tell() > limit:
                break
        else:
            return content.getvalue()
    raise HTTPException(
        413, f"The file is larger than {limit / 2**20:z.2g} MB. Use a smaller copy."
    )


async def read_json(request: Request) -> Any:
    """The request's body as JSON."""
    return parse_json(await read_bytes(request, _JSON_BYTES))


async def read_body(request: Request, kind: type[T]) -> T:
    """The request's body as that class of ``bodies``."""
    return read(kind, await read_json(request))


def read_query(request: Request, kind: type[T]) -> T:
    """The request's query as that class; ``box`` and ``label`` in it are the target."""
    values: dict[str, Any] = dict(request.query_params)
    if "box" in values:
        values["target"] = {"box": values["box"].split(","), "label": values.get("label")}
    return read(kind, values)

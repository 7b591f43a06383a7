"""Where a picture's bytes come from: a path, an address, bytes, an open file."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import quote

import numpy.typing as npt
from PIL import Image
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core.errors import ImageError

ImageSource = (
    str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any] | Tensor | Any
)
Stream = io.BytesIO | io.BufferedReader

DOWNLOAD_LIMIT_BYTES = 256 * 2**20
DOWNLOAD_TIMEOUT_S = 30.0


def is_address(source: object) -> bool:
    """Whether a picture's source is an address, such as ``http://...``, and not a path."""
    return isinstance(source, str) and bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source))


@contextmanager
def opened(source: Any) -> Iterator[tuple[Stream, str]]:
    """A seekable stream of the source's bytes, and its name in messages; raises ImageError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source), "the picture given as bytes"
    elif hasattr(source, "read"):
        yield io.BytesIO(_content(source)), "the picture in the open file"
    elif is_address(source):
        yield io.BytesIO(_download(source)), source
    elif isinstance(source, (str, os.PathLike)):
        with _open(Path(source)) as stream:
            yield stream, str(source)
    else:
        raise ImageError(
            "wanted a picture as a path, an address, bytes, an open file, a PIL image, a NumPy "
            f"array or a tensor, got {type(source).__name__}"
        )


def _content(file: Any) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: closed, or text in another encoding
        raise ImageError(
            f"the open file cannot be read: {error}; open it with mode 'rb'"
        ) from error
    if not isinstance(data, bytes):
        raise ImageError(
            f"wanted a file open in binary mode, got one that reads {type(data).__name__}; "
            "open it with mode 'rb'"
        )
    return data


def _open(path: Path) -> Stream:
    try:
        if path.is_dir():
            raise ImageError(f"wanted a picture, got the folder {path}; name a file in it")
        stream = path.open("rb")
    except FileNotFoundError as error:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ImageError(f"there is no file {path}{where}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{path} cannot be opened: {error}; check the path") from error
    if stream.seekable():
        return stream
    with stream:
        return io.BytesIO(stream.read())


def _download(url: str) -> bytes:
    if not url.lower().startswith(("http://", "https://")):
        raise ImageError(
            f"wanted an address with http:// or https://, got {url}; download it and give its path"
        )
    remedy = "check the address, or download the picture and give its path"
    try:
        wanted = request.Request(  # noqa: S310  (http and https only, see above)
            quote(url, safe="%/:?#[]@!$&'()*+,;=~"),
            headers={"User-Agent": f"chiaroscuro/{__version__}"},
        )
        with _opener().open(wanted, timeout=DOWNLOAD_TIMEOUT_S) as response:
            data: bytes = response.read(DOWNLOAD_LIMIT_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise ImageError(f"{url} answered {error.code} {error.reason}; {remedy}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise ImageError(f"{url} cannot be reached: {error}; {remedy}") from error
    if len(data) > DOWNLOAD_LIMIT_BYTES:
        raise ImageError(
            f"{url} has more than {DOWNLOAD_LIMIT_BYTES} bytes, the limit of a download; "
            "download it yourself and give its path"
        )
    return data


def _opener() -> request.OpenerDirector:
    """An opener for HTTP alone: a redirection to file:// or ftp:// leads nowhere."""
    opener = request.OpenerDirector()
    for handler in (
        *(request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.UnknownHandler),
        *(request.HTTPRedirectHandler, request.HTTPErrorProcessor, request.HTTPDefaultErrorHandler),
    ):
        opener.add_handler(handler())
    return opener

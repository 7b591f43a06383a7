"""What every page shares: the template engine, pictures as part of the page."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath


def render(path: AnyPath, template: str, **values: Any) -> AnyPath:
    """Write a page from a template, whole or not at all.

    Text is escaped; what UTF-8 cannot say (file names may hold it) becomes a question mark.
    """
    environment = Environment(
        loader=PackageLoader("chiaroscuro.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(**values)
    bundle.write_atomically(path, lambda stream: stream.write(page.encode(errors="replace")))
    return path


def embedded(pixels: npt.NDArray[np.uint8], *, kind: str = "jpeg") -> str:
    """A picture ``height width 3`` as a data address."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=86)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"

"""SHA-256 of pictures and of their files."""

import hashlib
import os
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from chiaroscuro.core.errors import ImageError
from chiaroscuro.images.sources import opened

_KNOWN: Any = WeakIdKeyDictionary()  # tensor: its version, and the hash of that


def image_hash(image: Tensor) -> str:
    """SHA-256 of an image's shape, dtype and values, in hexadecimal; the same on every device.

    A tensor is hashed once, and again only after it was changed in place.
    """
    known: tuple[int, str] | None = _KNOWN.get(image)
    if known is not None and known[0] == image._version:
        return known[1]
    digest = _hash(image)
    _KNOWN[image] = image._version, digest
    return digest


def _hash(image: Tensor) -> str:
    values = image.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(values.shape)} {values.dtype} ".encode())
    digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_hash(source: str | os.PathLike[str]) -> str:
    """SHA-256 of a picture's file, or of the bytes at its address, in hexadecimal.

    Raises:
        ImageError: if it cannot be read.
    """
    with opened(source) as (stream, name):
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error}; check the disk") from error

"""SHA-256 of pictures and of their files."""

import hashlib
import os

import torch
from torch import Tensor

from chiaroscuro.core.errors import ImageError
from chiaroscuro.images.sources import opened


def image_hash(image: Tensor) -> str:
    """SHA-256 of an image's shape, dtype and values, in hexadecimal; the same on every device."""
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

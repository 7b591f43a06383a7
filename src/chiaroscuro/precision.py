"""Single precision, whatever torch's default type is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_precision() -> Iterator[None]:
    """Torch's default type is float32; afterwards it is what the user made it.

    All arrays of the package are float32. Also a decorator: ``@single_precision()``.
    """
    chosen = torch.get_default_dtype()
    if chosen == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(chosen)

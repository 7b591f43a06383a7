"""Pictures and detectors that the tests share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import Tensor

torch.set_num_threads(1)


@pytest.fixture
def image() -> Tensor:
    """A float picture of noise, 40 high and 56 wide, bright enough that every pixel counts."""
    generator = torch.Generator().manual_seed(7)
    return 0.25 + 0.75 * torch.rand(3, 40, 56, generator=generator)

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiaroscuro.core.errors import ImageError, InputError, UnknownNameError
from chiaroscuro.core.masks import Masks, fill_image, gaussian_blur, hide
from chiaroscuro.core.plan import MaskDesign


def brute_force_mask(masks: Masks, i: int) -> np.ndarray:
    """One mask by its definition: independent loops over pixels."""
    grids, shifts = masks.cells(i, i + 1)
    rows, columns = masks.design.grid
    cell_h, cell_w = -(-masks.height // rows), -(-masks.width // columns)
    out = np.zeros((masks.height, masks.width))
    for y in range(masks.height):
        for x in range(masks.width):
            row, below = divmod(y + shifts[0, 0], cell_h)
            column, right = divmod(x + shifts[0, 1], cell_w)
            down = np.round((below + 0.5) / cell_h * 4096) / 4096
            across = np.round((right + 0.5) / cell_w * 4096) / 4096
            cells = grids[0, row : row + 2, column : column + 2].astype(float)
            out[y, x] = np.array([1 - down, down]) @ cells @ np.array([1 - across, across])
    return out


@pytest.mark.parametrize("size", [(37, 53), (64, 40), (5, 9), (1, 1), (1, 30)])
def test_mask_is_the_magnified_shifted_grid(size: tuple[int, int]) -> None:
    masks = Masks(MaskDesign(grid_size=(4, 6)), *size, seed=5)
    rendered = masks.render(0, 4)
    for i in range(4):
        np.testing.assert_array_equal(rendered[i].numpy(), brute_force_mask(masks, i))


@given(
    start=st.integers(0, 50),
    split=st.integers(1, 6),
    seed=st.integers(0, 2**64 - 1),
)
def test_mask_depends_on_seed_and_number_alone(start: int, split: int, seed: int) -> None:
    masks = Masks(MaskDesign(grid_size=3), 11, 17, seed=seed)
    whole = masks.render(start, start + 7)
    parts = [masks.render(start, start + split), masks.render(start + split, start + 7)]
    assert torch.equal(whole, torch.cat(parts))
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1


def test_seeds_and_masks_differ() -> None:
    first = Masks(MaskDesign(), 20, 30, seed=0).render(0, 2)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, Masks(MaskDesign(), 20, 30, seed=1).render(0, 2))


def test_keep_probability_is_the_mean() -> None:
    for keep in (0.2, 0.5, 0.8):
        masks = Masks(MaskDesign(grid_size=8, keep_probability=keep), 24, 40)
        assert float(masks.render(0, 600).mean()) == pytest.approx(keep, abs=0.01)


def test_weighted_sum_equals_the_sum_of_rendered_masks() -> None:
    masks = Masks(MaskDesign(grid_size=(4, 7)), 37, 53, seed=2)
    weights = np.random.default_rng(0).normal(size=30)
    rendered = masks.render(0, 30).double()
    wanted = (torch.from_numpy(weights)[:, None, None] * rendered).sum(0)
    torch.testing.assert_close(masks.weighted_sum(weights), wanted, atol=1e-12, rtol=0)
    some = np.array([3, 4, 5, 17, 29])
    wanted = (torch.from_numpy(weights[some])[:, None, None] * rendered[some]).sum(0)
    torch.testing.assert_close(masks.weighted_sum(weights[some], some), wanted, atol=1e-12, rtol=0)


def test_hide_keeps_where_one_and_fills_where_zero() -> None:
    image = torch.rand(3, 4, 6)
    masks = torch.zeros(2, 4, 6)
    masks[0, :, :3] = 1
    masks[1] = 0.25
    fill = torch.full((3, 4, 6), 0.5)
    on_black, on_grey = hide(image, masks), hide(image, masks, fill)
    assert torch.equal(on_black[0, :, :, :3], image[:, :, :3])
    assert not on_black[0, :, :, 3:].any()
    torch.testing.assert_close(on_grey[1], 0.25 * image + 0.75 * 0.5)


def test_fills() -> None:
    image = torch.rand(3, 20, 30)
    assert fill_image(MaskDesign(), image) is None
    mean = fill_image(MaskDesign(fill="mean"), image)
    assert mean is not None
    torch.testing.assert_close(mean[:, 3, 4], image.mean(dim=(1, 2)))
    blurred = fill_image(MaskDesign(fill="blur"), image)
    assert blurred is not None
    assert float(blurred.std()) < 0.3 * float(image.std())
    blurred = fill_image(MaskDesign(fill="blur", blur_sigma=3.0), image)
    torch.testing.assert_close(blurred, gaussian_blur(image, sigma=3.0))
    other = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    given = fill_image(MaskDesign(fill=other), image)
    assert given is not None
    torch.testing.assert_close(given, other.float() / 255)
    with pytest.raises(ImageError, match=r"wanted an image of the picture's shape \(3, 20, 30\)"):
        fill_image(MaskDesign(fill=other[:, :10]), image)


def test_blur_keeps_a_flat_picture_and_works_on_one_pixel() -> None:
    flat = torch.full((3, 9, 5), 0.4)
    torch.testing.assert_close(gaussian_blur(flat, sigma=4.0), flat)
    assert gaussian_blur(torch.rand(3, 1, 1), sigma=3.0).shape == (3, 1, 1)


def test_design_refuses_nonsense() -> None:
    with pytest.raises(InputError, match="grid_size"):
        MaskDesign(grid_size=0)
    for keep in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="keep_probability"):
            MaskDesign(keep_probability=keep)
    with pytest.raises(UnknownNameError, match="black, blur, mean"):
        MaskDesign(fill="noise")
    with pytest.raises(InputError, match="seed"):
        Masks(MaskDesign(), 4, 4, seed=-1)
    with pytest.raises(InputError, match="at least 1x1"):
        Masks(MaskDesign(), 0, 4)

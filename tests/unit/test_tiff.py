"""TIFF: which level is white, and which of many pages is the picture."""

import io
import struct
import sys
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from chiaroscuro.core.errors import ImageError
from chiaroscuro.images import pillow
from chiaroscuro.images.pillow import readable_formats
from chiaroscuro.images.read import read_image

LEVELS = np.arange(0, 252, 12, dtype=np.uint8).reshape(3, 7)  # 3 high, 7 wide
REDUCED, MASK = 1, 4


def page(pixels, white_is_zero=False, bits=None, sample_format=1, kind=0, deflate=False, tile=None):
    """Tags and data of a grey page; ``bits`` packs other depths than the array's."""
    height, width = pixels.shape
    data = pixels.tobytes()
    if tile is not None:  # a single tile, the page in its corner
        padded = np.zeros((tile, tile), pixels.dtype)
        padded[:height, :width] = pixels
        data = padded.tobytes()
    if bits is not None:
        text = ["".join(f"{value:0{bits}b}" for value in row) for row in pixels]
        rows = [row + "0" * (-len(row) % 8) for row in text]
        data = b"".join(int(row, 2).to_bytes(len(row) // 8) for row in rows)
    tags = {
        **{254: kind, 256: width, 257: height, 258: bits or 8 * pixels.itemsize},
        **{259: 8 if deflate else 1, 262: 0 if white_is_zero else 1, 277: 1, 339: sample_format},
    }
    tags |= {278: height} if tile is None else {322: tile, 323: tile}
    return tags, zlib.compress(data) if deflate else data, tile is not None


def tiff(*pages, order="<"):
    """A TIFF 6.0 file by hand: Pillow writes no picture whose white is zero."""
    body, ifds, place = b"", [], 8
    for tags, data, tiled in pages:
        offset, count = (324, 325) if tiled else (273, 279)
        ifds.append({**tags, offset: place, count: len(data)})
        body += data + b"\0" * (len(data) % 2)
        place = 8 + len(body)
    out = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, place) + body
    for i, tags in enumerate(ifds):
        entries = b"".join(
            struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
        )
        place += 2 + len(entries) + 4
        following = place if i + 1 < len(ifds) else 0
        out += struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following)
    return out


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("layout", [{}, {"deflate": True}, {"tile": 16}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_may_be_zero_at_any_depth(dtype, layout, white_is_zero):
    white = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    values = (LEVELS / 255 * white).round(0 if white > 1 else 6).astype(dtype)
    stored = (white - values).astype(dtype) if white_is_zero else values
    one = page(stored, white_is_zero, sample_format=3 if white == 1 else 1, **layout)
    data = tiff(one)
    assert (read_image(data)[0].numpy() == LEVELS).all()
    opened = Image.open(io.BytesIO(data))
    assert (read_image(opened)[2].numpy() == LEVELS).all()


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_white_may_be_zero_with_few_bits(bits, white_is_zero):
    white = 2**bits - 1
    values = LEVELS % (white + 1)
    data = tiff(page(white - values if white_is_zero else values, white_is_zero, bits))
    assert (read_image(data)[0].numpy() == values * (255 // white)).all()


def test_white_may_be_zero_in_big_endian_floats_and_the_other_byte_order_is_refused():
    values = (1 - LEVELS / 255).astype(">f4")
    assert (
        read_image(tiff(page(values, True, sample_format=3), order=">"))[0].numpy() == LEVELS
    ).all()
    sixteen = (65535 - LEVELS.astype(int) * 257).astype(">u2")
    with pytest.raises(ImageError, match="save it again as JPEG or PNG"):
        read_image(tiff(page(sixteen, True), order=">"))


def test_twelve_bits_have_their_white_at_4095():
    values = np.rint(LEVELS / 255 * 4095).astype(np.uint16)
    assert (read_image(tiff(page(values, bits=12)))[0].numpy() == LEVELS).all()


def test_signed_sixteen_bits_have_their_white_at_32767():
    values = np.rint(LEVELS / 255 * 32767).astype(np.int16)
    assert (read_image(tiff(page(values, sample_format=2)))[0].numpy() == LEVELS).all()
    values[0, 0] = -1
    with pytest.raises(ImageError, match=r"wanted 0 \(black\) to 32767 \(white\), got -1"):
        read_image(tiff(page(values, sample_format=2)))


def enlarged(factor):
    return np.repeat(np.repeat(LEVELS, factor, 0), factor, 1)


@pytest.mark.parametrize(
    ("pages", "which", "says"),
    [
        ([page(LEVELS), page(LEVELS[:, :5])], 0, "has 2 pages; page 1 is read, the first"),
        ([page(enlarged(2)), page(LEVELS)], 0, "page 1 is read, the first"),
        ([page(LEVELS), page(enlarged(3))], 1, "page 2 is read, page 1 is a small copy of it"),
        ([page(LEVELS), page(enlarged(2)), page(enlarged(4))], 2, "page 3 is read"),
        ([page(LEVELS, kind=REDUCED), page(enlarged(2)[:, :9])], 1, "page 2 is read"),
        ([page(LEVELS, kind=REDUCED), page(enlarged(2), kind=MASK)], 0, "no larger page"),
        ([page(LEVELS, kind=REDUCED)], 0, "has 1 page; page 1 is read, the first; it is flagged"),
        ([page(LEVELS), page(enlarged(2)[:, :9])], 0, "page 1 is read, the first"),
        (
            [page(enlarged(4)), page(enlarged(2), kind=REDUCED), page(LEVELS, kind=REDUCED)],
            0,
            "has 3 pages; page 1 is read",
        ),
        (
            [page(LEVELS, kind=REDUCED), page(enlarged(4), kind=REDUCED), page(enlarged(2))],
            2,
            "page 3 is read",
        ),
    ],
)
def test_the_first_page_unless_it_is_a_thumbnail_of_a_larger_one(pages, which, says):
    tags, data, _ = pages[which]
    expected = np.frombuffer(data, np.uint8).reshape(tags[257], tags[256])
    with pytest.warns(RuntimeWarning, match=says):
        image = read_image(tiff(*pages))
    assert (image[0].numpy() == expected).all()


def test_the_larger_page_is_held_to_the_limit_and_never_replaced_by_its_thumbnail():
    with (
        pytest.warns(RuntimeWarning, match="page 2 is read"),
        pytest.raises(ImageError, match="wanted at most 50 pixels"),
    ):
        read_image(tiff(page(LEVELS), page(enlarged(3))), max_pixels=50)
    odd = page(enlarged(3))
    odd[0][262] = 32803  # a camera's mosaic, which Pillow does not read
    with pytest.raises(ImageError):
        read_image(tiff(page(LEVELS, kind=REDUCED), odd))


def test_a_cut_chain_of_pages_leaves_the_first_or_is_refused():
    whole = tiff(page(LEVELS), page(enlarged(2)))
    second = whole.index(struct.pack("<HHII", 256, 4, 1, 14)) - 14
    for length in range(second + 3, len(whole), 7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image = read_image(whole[:length])
            except ImageError:
                continue
        expected = enlarged(image.shape[1] // 3)
        assert (image[0].numpy() == expected).all()


def test_one_page_is_read_without_a_warning():
    assert (read_image(tiff(page(LEVELS)))[0].numpy() == LEVELS).all()


def test_heif_is_read_where_its_plug_in_is_installed(monkeypatch):
    pillow._add_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "HEIF" not in readable_formats()

    def register():
        Image.register_open("HEIF", lambda *_: None, lambda _: False)

    pillow._add_heif.cache_clear()
    fake = SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert "HEIF" in readable_formats()
    pillow._add_heif.cache_clear()

"""Reading pictures: every kind of source, every mode, every way to be broken."""

import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms

from chiaroscuro.core.errors import ImageError, InputError
from chiaroscuro.images import hashes, sources
from chiaroscuro.images.arrays import to_pil
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)  # 5 high, 7 wide
GREY = PIXELS[..., 0]
TENSOR = torch.from_numpy(PIXELS).permute(2, 0, 1).contiguous()


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def rows(image):
    """An image tensor as a NumPy array h w 3."""
    return image.permute(1, 2, 0).numpy()


def grey_rgb(levels):
    return np.repeat(np.asarray(levels, dtype=np.uint8)[..., None], 3, axis=2)


def over_white(rgb, alpha):
    alpha = np.asarray(alpha, dtype=np.float64)[..., None] / 255
    return rgb * alpha + 255 * (1 - alpha)


PNG = encode(Image.fromarray(PIXELS))


# Where pictures come from


class Unseekable(io.RawIOBase):
    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path,
        str,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: Unseekable(path.read_bytes()),
        lambda path: Image.open(io.BytesIO(path.read_bytes())),
        lambda path: Image.fromarray(PIXELS),
        lambda path: PIXELS,
        lambda path: PIXELS.astype(np.float64) / 255,
        lambda path: PIXELS[::-1, ::-1].copy()[::-1, ::-1],
        lambda path: TENSOR,
        lambda path: TENSOR.float() / 255,
        lambda path: torch.from_numpy(PIXELS),
        lambda path: (TENSOR / 255).requires_grad_(),
    ],
)
def test_every_kind_of_source_gives_the_same_image(make, tmp_path):
    path = tmp_path / "a picture é.png"
    path.write_bytes(PNG)
    image = read_image(make(path))
    assert image.dtype == torch.uint8
    assert image.shape == (3, 5, 7)
    assert image.is_contiguous()
    assert image.equal(TENSOR)


def test_an_open_file_is_read_from_where_it_stands_and_stays_open(tmp_path):
    path = tmp_path / "two"
    path.write_bytes(b"preface" + PNG)
    with path.open("rb") as stream:
        stream.seek(7)
        assert read_image(stream).equal(TENSOR)
        assert not stream.closed


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(PNG,))
    writer.start()
    assert read_image(pipe).equal(TENSOR)
    writer.join()


@pytest.mark.parametrize("source", [PIXELS, TENSOR, GREY, torch.from_numpy(GREY)])
def test_the_result_owns_its_memory(source):
    source = source.copy() if isinstance(source, np.ndarray) else source.clone()
    first = read_image(source)
    kept = first.clone()
    source[...] = 0
    assert first.equal(kept)
    first.fill_(255)
    assert (np.asarray(source) == 0).all()


def test_a_pil_image_is_left_as_it_was():
    source = Image.fromarray(GREY).convert("P")
    source.info["transparency"] = 3
    source.getexif()[0x0112] = 6
    before = source.mode, source.size, source.tobytes(), dict(source.info), dict(source.getexif())
    read_image(source, max_side=3)
    after = source.mode, source.size, source.tobytes(), dict(source.info), dict(source.getexif())
    assert after == before
    jpeg = Image.open(io.BytesIO(encode(Image.fromarray(PIXELS).resize((70, 50)), "JPEG")))
    read_image(jpeg, max_side=7)
    assert jpeg.size == (70, 50)


# Arrays: shapes, dtypes, ranges


@pytest.mark.parametrize(
    ("shape", "as_tensor", "channels"),
    [
        ((5, 7), False, None),
        ((5, 7), True, None),
        ((3, 7), False, None),
        ((1, 1), False, None),
        ((5, 7, 3), True, 2),
        ((5, 7, 4), True, 2),
        ((3, 5, 7), False, 0),
        ((3, 5, 3), False, 2),  # both ends could be channels: NumPy has them last
        ((3, 5, 4), False, 2),
        ((3, 5, 3), True, 0),  # and torch first
        ((3, 5, 4), True, 0),
        ((3, 3, 3), True, 0),
        ((3, 3, 3), False, 2),
        ((3, 1, 1), True, 0),
        ((1, 1, 3), False, 2),
    ],
)
def test_array_shapes(shape, as_tensor, channels):
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    image = read_image(torch.from_numpy(array) if as_tensor else array)
    expected = grey_rgb(array) if channels is None else np.moveaxis(array, channels, -1)
    if expected.shape[-1] == 4:
        expected = np.rint(over_white(expected[..., :3], expected[..., 3]))
    assert rows(image).shape == (*expected.shape[:2], 3)
    assert np.abs(rows(image) - expected).max() <= 1


def test_an_array_with_alpha_lies_over_white():
    array = np.zeros((1, 2, 4), dtype=np.uint8)
    array[0, 0] = 200, 100, 0, 255
    array[0, 1] = 200, 100, 0, 0
    expected = [[[200, 100, 0], [255, 255, 255]]]
    assert rows(read_image(array)).tolist() == expected
    assert rows(read_image(array.astype(np.float32) / 255)).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_every_level_survives_as_a_float(dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    assert (read_image((levels / 255).astype(dtype))[0].numpy() == levels).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_tensors_are_rounded_to_the_nearest_level(dtype):
    values = torch.linspace(0, 1, 22, dtype=dtype).reshape(2, 11)
    expected = (values.double() * 255).round().to(torch.uint8)
    assert read_image(values)[1].equal(expected)


def test_floats_a_hair_outside_the_range_are_accepted():
    image = read_image(np.array([[-0.4 / 255, 1 + 0.4 / 255]]))
    assert image[0].tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_not_clipped(dtype):
    values = np.array([[0, 128, 129, 257, 32768, 65278, 65535]], dtype=dtype)
    assert read_image(values)[0].tolist() == [[0, 0, 1, 1, 128, 254, 255]]
    assert read_image(torch.tensor(values.astype(np.uint16)))[0, 0, -1] == 255


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.uint8), r"wanted shape .* got \(5,\)"),
        (np.zeros((2, 3, 5, 7), np.uint8), "down to one picture"),
        (np.zeros((5, 7, 2), np.uint8), r"got \(5, 7, 2\)"),
        (np.zeros((1, 5, 7), np.uint8), "squeeze"),
        (np.zeros((0, 7, 3), np.uint8), "at least one pixel"),
        (np.zeros((3, 5, 0), np.uint8), "at least one pixel"),
        (np.full((5, 7), np.nan), "got NaN"),
        (np.full((5, 7), np.inf), "got inf to inf"),
        (np.full((5, 7), 1e300), r"division by 255"),
        (np.full((5, 7, 3), 200.0), "got 200 to 200; .* division by 255"),
        (np.full((5, 7), -0.5), "got -0.5 to -0.5"),
        (np.zeros((5, 7), np.int64), "got int64; convert"),
        (np.zeros((5, 7), bool), "got bool"),
        (np.zeros((5, 7), complex), "got complex128"),
        (np.zeros((5, 7), object), "got object"),
        (torch.zeros(2, 3, 5, 7), r"got \(2, 3, 5, 7\)"),
        (torch.zeros(3, 5, 7, dtype=torch.int32), "got int32"),
        (torch.full((3, 5, 7), torch.nan), "got NaN"),
    ],
)
def test_unusable_arrays_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        read_image(array)


# Modes


ALPHA = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", grey_rgb(np.where(GREY > 127, 255, 0))),
        ("L", grey_rgb(GREY)),
        ("RGB", PIXELS),
        ("P", grey_rgb(GREY)),
    ],
)
def test_plain_modes(mode, expected, as_file):
    picture = Image.fromarray(PIXELS if mode == "RGB" else GREY)
    picture = picture.convert(mode, dither=Image.Dither.NONE)
    source = encode(picture) if as_file else picture
    assert (rows(read_image(source)) == expected).all()


@pytest.mark.parametrize("as_file", [False, True])
def test_alpha_lies_over_white(as_file):
    for mode, channels, expected in [
        ("RGBA", np.dstack([PIXELS, ALPHA]), over_white(PIXELS, ALPHA)),
        ("LA", np.dstack([GREY, ALPHA]), over_white(grey_rgb(GREY), ALPHA)),
    ]:
        picture = Image.fromarray(channels)
        assert picture.mode == mode
        image = read_image(encode(picture) if as_file else picture)
        assert np.abs(rows(image) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha_lies_over_white(mode):
    straight = Image.fromarray(np.dstack([PIXELS, ALPHA]))
    if mode == "La":
        straight = straight.convert("LA")
    expected = rows(read_image(straight)).astype(int)
    assert np.abs(rows(read_image(straight.convert(mode))) - expected).max() <= 2


def test_palettes_with_transparency_lie_over_white():
    indices = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    palette = [10, 20, 30, 40, 50, 60, 70, 80, 90]
    colours = np.array(palette).reshape(3, 3)
    for transparency, alpha in [
        (1, [255, 0, 255]),
        (bytes([0, 128, 255]), [0, 128, 255]),
    ]:
        picture = Image.fromarray(indices).convert("P")
        picture.putdata(indices.ravel().tolist())
        picture.putpalette(palette)
        data = encode(picture, transparency=transparency)
        expected = over_white(colours[indices], np.array(alpha)[indices])
        assert np.abs(rows(read_image(data)) - expected).max() <= 1
        reopened = Image.open(io.BytesIO(data))
        assert np.abs(rows(read_image(reopened)) - expected).max() <= 1


def test_a_palette_with_an_alpha_band_lies_over_white():
    picture = Image.fromarray(np.dstack([PIXELS, ALPHA])).convert("PA")
    expected = rows(read_image(picture.convert("RGBA")))
    assert (rows(read_image(picture)) == expected).all()


def test_a_transparent_colour_without_alpha_lies_over_white():
    data = encode(Image.fromarray(PIXELS), transparency=tuple(PIXELS[2, 3].tolist()))
    expected = PIXELS.copy()
    expected[2, 3] = 255
    assert (rows(read_image(data)) == expected).all()


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "CMYK", "RGBX"])
def test_other_colour_modes_come_back_to_rgb(mode):
    smooth = np.dstack([np.full((5, 7), v, np.uint8) for v in (180, 140, 90)])
    picture = Image.fromarray(smooth).convert(mode)
    assert np.abs(rows(read_image(picture)).astype(int) - smooth).max() <= 4


def test_cmyk_of_adobe_is_not_a_negative():
    light = Image.new("RGB", (16, 8), (230, 200, 170)).convert("CMYK")
    data = encode(light, "JPEG", quality=95)
    assert b"Adobe" in data  # which stores CMYK inverted
    image = read_image(data)
    assert np.abs(rows(image).astype(int) - [230, 200, 170]).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_files(kind):
    values = np.array([[0, 257, 32768], [65535, 40000, 300]], dtype=np.uint16)
    expected = np.rint(values / 257)
    data = encode(Image.fromarray(values), kind)
    assert (read_image(data)[0].numpy() == expected).all()
    opened = Image.open(io.BytesIO(data))
    assert (read_image(opened)[2].numpy() == expected).all()
    assert (read_image(Image.fromarray(values.astype(">u2")))[0].numpy() == expected).all()


def test_thirty_two_bit_grey_has_its_white_at_65535():
    values = np.array([[0, 257], [65535, 40000], [300, 1]], dtype=np.int32)
    picture = Image.fromarray(values)
    assert picture.mode == "I"
    assert (read_image(picture)[0].numpy() == np.rint(values / 257)).all()
    for wrong in (-1, 65536):
        values[0, 0] = wrong
        with pytest.raises(ImageError, match=r"wanted 0 \(black\) to 65535 \(white\)"):
            read_image(Image.fromarray(values))


def test_float_pictures_have_their_white_at_1():
    values = np.array([[0, 0.5], [1, 0.25], [0.1, 0.9]], dtype=np.float32)
    data = encode(Image.fromarray(values), "TIFF")
    assert (read_image(data)[0].numpy() == np.rint(values * 255)).all()
    with pytest.raises(ImageError, match="got 0 to 255"):
        read_image(encode(Image.fromarray(values * 255), "TIFF"))
    values[1, 1] = np.nan
    with pytest.raises(ImageError, match="got NaN"):
        read_image(encode(Image.fromarray(values), "TIFF"))


def png_of_sixteen_bit_rgb(values):
    """Pillow cannot write it, so by hand: PNG specification, chunks IHDR, IDAT, IEND."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bit_rgb_png():
    values = PIXELS.astype(np.uint16) * 257
    assert (rows(read_image(png_of_sixteen_bit_rgb(values))) == PIXELS).all()


# Frames, orientation, colour profiles


def test_of_many_frames_the_first():
    frames = [Image.new("RGB", (7, 5), c) for c in ("red", "lime", "blue")]
    for kind in ("GIF", "TIFF", "PNG", "WEBP", "MPO"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        red = torch.tensor([255, 0, 0])[:, None, None]
        says = pytest.warns(RuntimeWarning, match="has 3 pages; page 1 is read, the first")
        with says if kind == "TIFF" else nullcontext():
            assert (read_image(data).int() - red).abs().max() <= 2


# Exif 2.32, tag 0x0112: on which side of the scene the stored row 0 and the stored column 0 lie.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright(stored, orientation):
    row_side, column_side = SIDES[orientation]
    n_rows, n_columns = stored.shape[:2]
    upright_rows = row_side in ("top", "bottom")
    scene = np.zeros((n_rows, n_columns, 3) if upright_rows else (n_columns, n_rows, 3), np.uint8)
    for r in range(n_rows):
        for c in range(n_columns):
            down = r if row_side in ("top", "left") else n_rows - 1 - r
            along = c if column_side in ("top", "left") else n_columns - 1 - c
            scene[(down, along) if upright_rows else (along, down)] = stored[r, c]
    return scene


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@given(
    stored=hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))),
    orientation=st.sampled_from(sorted(SIDES)),
    kind=st.sampled_from(["PNG", "TIFF", "WEBP", "PIL"]),
)
@settings(deadline=None, max_examples=150)
def test_orientation_is_turned_upright(stored, orientation, kind):
    picture = Image.fromarray(stored)
    if kind == "PIL":
        picture.getexif()[0x0112] = orientation
        image = read_image(picture)
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        image = read_image(encode(picture, kind, exif=exif_of(orientation), **options))
    assert (rows(image) == upright(stored, orientation)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_also_when_reduced(orientation):
    stored = np.kron(RNG.integers(60, 200, (2, 3, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    data = encode(Image.fromarray(stored), "JPEG", quality=98, exif=exif_of(orientation))
    expected = upright(stored, orientation)[8::16, 8::16].astype(int)
    assert np.abs(rows(read_image(data))[8::16, 8::16] - expected).max() < 12
    small = read_image(data, max_side=24)
    assert max(small.shape) == 24
    assert np.abs(rows(small)[4::8, 4::8] - expected).max() < 12


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation):
    data = encode(Image.fromarray(PIXELS), exif=exif_of(orientation))
    assert (rows(read_image(data)) == PIXELS).all()


def test_unreadable_exif_gives_a_warning_and_the_picture_as_stored():
    data = encode(Image.fromarray(PIXELS), exif=b"Exif\0\0no TIFF header here")
    with pytest.warns(RuntimeWarning, match="EXIF data .* cannot be read"):
        image = read_image(data)
    assert (rows(image) == PIXELS).all()


def icc_number(value):
    return struct.pack(">i", round(value * 65536))


def icc_xyz(x, y, z):
    return b"XYZ \0\0\0\0" + icc_number(x) + icc_number(y) + icc_number(z)


def icc_gamma(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def icc_profile(name, space, tags, connection=b"XYZ ", kind=b"mntr"):
    """A profile of version 2, by the ICC's specification ICC.1:2001-04."""
    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": icc_xyz(0.9642, 1, 0.8249), **tags}
    table, data, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for signature, value in tags.items():
        table += signature + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(data), b"\0" * 4, 0x02100000, kind, space, connection
    )
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += icc_number(0.9642) + icc_number(1) + icc_number(0.8249)
    return header.ljust(128, b"\0") + table + data


# Columns are the primaries in XYZ under D50, from the two standards.
ADOBE_RGB = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE_GAMMA = 563 / 256


def rgb_profile(name="Adobe RGB (1998)"):
    tags = {
        c + b"XYZ": icc_xyz(*xyz) for c, xyz in zip((b"r", b"g", b"b"), ADOBE_RGB.T, strict=True)
    }
    return icc_profile(
        name, b"RGB ", tags | {c + b"TRC": icc_gamma(ADOBE_GAMMA) for c in (b"r", b"g", b"b")}
    )


def grey_profile(gamma):
    return icc_profile("grey", b"GRAY", {b"kTRC": icc_gamma(gamma)})


def srgb_levels(linear):
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def adobe_to_srgb(levels):
    linear = (levels / 255) ** ADOBE_GAMMA
    return srgb_levels(linear @ (np.linalg.inv(SRGB) @ ADOBE_RGB).T)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_adobe_rgb_is_brought_to_srgb(kind):
    levels = np.array([[[120, 90, 60], [200, 180, 150]], [[30, 60, 40], [255, 255, 255]]], np.uint8)
    blocks = np.kron(levels, np.ones((16, 16, 1), np.uint8))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    data = encode(Image.fromarray(blocks), kind, icc_profile=rgb_profile(), **options)
    expected = adobe_to_srgb(levels)
    assert np.abs(expected - levels).max() > 8  # so that doing nothing would fail
    assert np.abs(rows(read_image(data))[8::16, 8::16] - expected).max() <= 3


def test_profiles_hold_under_alpha_palette_and_grey():
    colour = np.full((5, 7, 3), (120, 90, 60), np.uint8)
    picture = Image.fromarray(colour)
    half = np.full((5, 7, 1), 255, np.uint8)
    half[0] = 0
    for given_picture in (picture.quantize(2), Image.fromarray(np.dstack([colour, half]))):
        image = read_image(encode(given_picture, icc_profile=rgb_profile()))
        assert np.abs(rows(image)[1:] - adobe_to_srgb(colour[1:])).max() <= 2
        if given_picture.mode == "RGBA":
            assert (rows(image)[0] == 255).all()
    for grey in (
        Image.fromarray(GREY),
        Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)])),
    ):
        image = read_image(encode(grey, icc_profile=grey_profile(1.8)))
        assert np.abs(rows(image) - srgb_levels((grey_rgb(GREY) / 255) ** 1.8)).max() <= 2
        image = read_image(encode(grey, icc_profile=rgb_profile()))
        assert np.abs(rows(image) - adobe_to_srgb(grey_rgb(GREY))).max() <= 2


def test_cmyk_goes_through_its_own_profile():
    """One whose coloured inks print nothing, and whose black goes from L* = 100 to 0."""
    ramp = bytes(range(256))
    white, black = bytes([255, 128, 128]), bytes([0, 128, 128])  # L* a* b*; the last ink runs first
    identity = b"".join(icc_number(v) for v in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4
    table += (white + black) * 8 + ramp * 3
    profile = icc_profile("ink", b"CMYK", {b"A2B0": table}, connection=b"Lab ", kind=b"prtr")
    picture = Image.new("CMYK", (16, 8), (20, 200, 90, 128))
    image = read_image(encode(picture, "TIFF", icc_profile=profile))
    assert (image.int() - 118).abs().max() <= 2  # sRGB's level for L* = 49.8
    assert (read_image(picture).int() - 118).abs().max() > 30


@pytest.mark.parametrize(
    "profile",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), rgb_profile("sRGB")],
)
def test_srgb_is_left_bit_for_bit(profile):
    assert read_image(encode(Image.fromarray(PIXELS), icc_profile=profile)).equal(TENSOR)


@pytest.mark.parametrize(
    "profile",
    [b"no profile", rgb_profile()[:200], rgb_profile()[:128] + bytes(400), grey_profile(2)],
)
def test_an_unusable_profile_is_ignored_with_a_warning(profile):
    with pytest.warns(RuntimeWarning, match="colour profile in .* cannot be used"):
        image = read_image(encode(Image.fromarray(PIXELS), icc_profile=profile))
    assert image.equal(TENSOR)


# What cannot be read


def test_another_package_has_patched_pillow(monkeypatch):
    """As Ultralytics does once it is imported: a plug-in is looked for where Pillow fails."""
    pillow_open = Image.open

    def patched(*args, **kwargs):
        try:
            return pillow_open(*args, **kwargs)
        except Image.UnidentifiedImageError:
            raise ModuleNotFoundError("No module named 'pi_heif'")  # noqa: B904

    monkeypatch.setattr(Image, "open", patched)
    with pytest.raises(ImageError, match="a web page"):
        read_image(b"<!doctype html><p>no")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "not a picture in a known format"),
        (b"x1,y1,x2,y2\n1,2,3,4\n" * 50, "save it again as JPEG or PNG"),
        (b"\n <!DOCTYPE html><html><body>", "a web page"),
        (b"\xef\xbb\xbf<html lang='fr'>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 7 5\n", "PostScript"),
        (b"\0" * 1000, "not a picture"),
        (PNG[:8], "not a picture|damaged"),
        (PNG[:-40], "damaged, cut off"),
    ],
)
def test_files_that_are_no_pictures(content, message, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    for source in (path, content, io.BytesIO(content)):
        with pytest.raises(ImageError, match=message):
            read_image(source)
    with pytest.raises(ImageError, match=r"picture\.jpg"):
        read_image(path)


def test_missing_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=r"no file absent\.jpg in .*; check the path"):
        read_image("absent.jpg")
    with pytest.raises(ImageError, match=r"no file .*absent\.jpg; check"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="got the folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="got the folder"):
        read_image("")
    with pytest.raises(ImageError, match="check the path"):
        read_image("null\0character.jpg")
    with pytest.raises(ImageError, match="check the path"):
        read_image("long" * 2000)


def test_other_things_are_refused(tmp_path):
    with pytest.raises(ImageError, match="got list"):
        read_image([[1, 2], [3, 4]])
    with pytest.raises(ImageError, match="got NoneType"):
        read_image(None)
    with pytest.raises(ImageError, match="got one that reads str; open it with mode 'rb'"):
        read_image(io.StringIO("text"))
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    with path.open(encoding="utf-8") as stream, pytest.raises(ImageError, match="mode 'rb'"):
        read_image(stream)
    with pytest.raises(ImageError, match="closed file"):
        read_image(stream)
    closed = Image.open(path)
    closed.close()
    with pytest.raises(ImageError, match="the PIL image"):
        read_image(closed)
    with pytest.raises(ImageError, match="7 wide and 0 high"):
        read_image(Image.new("RGB", (7, 0)))
    with pytest.raises(ImageError, match="cut off"):
        read_image(Image.open(io.BytesIO(PNG[:-40])))


def header_of_png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
    )
    return start + struct.pack(">I", 1 << 20) + b"IDAT"


@pytest.mark.parametrize("size", [(10_000, 10_001), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header(size):
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match=r"at most 100000000 pixels, got .*; .* raise max_pixels"):
        read_image(header_of_png(*size))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_that_of_the_caller():
    with pytest.raises(ImageError, match="wanted at most 34 pixels, got 7 x 5 = 35"):
        read_image(PNG, max_pixels=34)
    with pytest.raises(ImageError, match="wanted at most 34 pixels"):
        read_image(Image.open(io.BytesIO(PNG)), max_pixels=34)
    assert read_image(PNG, max_pixels=35).equal(TENSOR)
    assert read_image(PIXELS, max_pixels=1).equal(TENSOR)


@pytest.mark.parametrize("pillows_limit", [1, 20, None])
def test_pillows_own_limit_and_warning_do_not_reach_the_caller(monkeypatch, pillows_limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    for max_pixels in (35, 40, 100_000_000):
        assert read_image(PNG, max_pixels=max_pixels).equal(TENSOR)
    assert pillows_limit == Image.MAX_IMAGE_PIXELS


def test_threads_leave_the_process_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(read_image, [PNG] * 200))
    assert all(image.equal(TENSOR) for image in read)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert warnings.filters == filters


# Cut off or damaged anywhere

SOME_FILES = {
    "png": PNG,
    "jpeg": encode(Image.fromarray(PIXELS).resize((35, 25)), "JPEG"),
    "progressive jpeg": encode(Image.fromarray(PIXELS).resize((35, 25)), "JPEG", progressive=True),
    "gif": encode(Image.fromarray(PIXELS), "GIF"),
    "bmp": encode(Image.fromarray(PIXELS), "BMP"),
    "ppm": encode(Image.fromarray(PIXELS), "PPM"),
    "tiff": encode(Image.fromarray(PIXELS), "TIFF"),
    "lzw tiff": encode(Image.fromarray(PIXELS), "TIFF", compression="tiff_lzw"),
}
Image.init()
for kind, options in [("WEBP", {}), ("AVIF", {}), ("JPEG2000", {"tile_size": (4, 4)})]:
    if kind in Image.SAVE:  # not every build of Pillow can
        SOME_FILES[kind.lower()] = encode(Image.fromarray(PIXELS), kind, **options)
WHOLE = {name: read_image(data) for name, data in SOME_FILES.items()}


@pytest.mark.parametrize("name", SOME_FILES)
def test_cut_off_anywhere_is_an_error_or_the_whole_picture(name):
    data = SOME_FILES[name]
    errors = 0
    for length in range(len(data)):
        try:
            assert read_image(data[:length]).equal(WHOLE[name])
        except ImageError:
            errors += 1
    assert errors >= len(data) - 24  # what follows the last pixel may be missing


def read_or_refuse(data):
    """Nothing but ImageError may come out; warnings of damaged metadata are allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = read_image(data, max_pixels=10_000)
        except ImageError:
            return
    assert image.dtype == torch.uint8
    assert image.ndim == 3
    assert image.shape[0] == 3
    assert 0 < image.shape[1] * image.shape[2] <= 10_000


@given(st.binary(max_size=300))
@example(b"\xff\xd8\xff")
@example(b"GIF89a")
@example(b"P6 1 1 255\n")
@example(b"II*\0\x08\0\0\0")
@settings(deadline=None)
def test_arbitrary_bytes_raise_image_error_only(data):
    read_or_refuse(data)


@given(
    data=st.sampled_from(sorted(SOME_FILES)).map(SOME_FILES.get),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4),
)
@settings(deadline=None, max_examples=250)
def test_damaged_pictures_raise_image_error_only(data, changes):
    damaged = bytearray(data)
    for where, replacement in changes:
        start = int(where * (len(damaged) - 1))
        damaged[start : start + len(replacement)] = replacement
    read_or_refuse(bytes(damaged))


@given(
    array=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda size: st.sampled_from([size, (*size, 3)])
        ),
    )
)
@settings(deadline=None)
def test_a_lossless_round_trip_is_exact(array):
    expected = grey_rgb(array) if array.ndim == 2 else array
    assert (rows(read_image(encode(Image.fromarray(array)))) == expected).all()
    image = torch.from_numpy(expected.transpose(2, 0, 1).copy())
    assert read_image(to_pil(image)).equal(image)
    assert read_image(image).equal(image)
    assert read_image(image.float() / 255).equal(image)


# Reducing


@pytest.mark.parametrize(
    ("size", "max_side", "reduced"),
    [
        ((40, 56), 28, (20, 28)),
        ((56, 40), 28, (28, 20)),
        ((40, 56), 56, (40, 56)),
        ((40, 56), 1000, (40, 56)),
        ((40, 56), 1, (1, 1)),
        ((1, 500), 10, (1, 10)),
        ((1, 1), 1, (1, 1)),
    ],
)
def test_the_longer_side_is_at_most_max_side(size, max_side, reduced):
    array = RNG.integers(90, 166, (*size, 3), dtype=np.uint8)  # room for the filter's overshoot
    read = read_image(array, max_side=max_side)
    assert read.shape == (3, *reduced)
    assert read_image(encode(Image.fromarray(array)), max_side=max_side).equal(read)
    whole = read_image(array)
    for image in (whole, whole.float() / 255, whole.double() / 255):
        smaller, factor = shrink(image, max_side)
        assert smaller.shape == (3, *reduced)
        assert smaller.dtype == image.dtype
        assert factor == max(reduced) / max(size)
        levels = smaller * (1 if image.dtype == torch.uint8 else 255)
        assert (levels.float() - read.float()).abs().max() <= 2


def test_shrinking_keeps_what_is_where():
    image = torch.zeros(3, 80, 120)
    image[:, 20:40, 60:90] = 1  # the box 60 20 90 40
    smaller, factor = shrink(image, 60)
    assert factor == 0.5
    x = torch.arange(60) + 0.5
    y = torch.arange(40) + 0.5
    weight = smaller[0] / smaller[0].sum()
    torch.testing.assert_close(
        (weight.sum(0) * x).sum(), torch.tensor(75 * factor), atol=0.1, rtol=0
    )
    torch.testing.assert_close(
        (weight.sum(1) * y).sum(), torch.tensor(30 * factor), atol=0.1, rtol=0
    )
    assert (float(smaller.min()), float(smaller.max())) == (0, 1)  # no rim of Lanczos


def test_a_small_image_comes_back_as_it_is():
    assert shrink(TENSOR, 7) == (TENSOR, 1.0)


def test_a_jpeg_decoded_small_looks_like_one_reduced_afterwards():
    smooth = Image.fromarray(PIXELS).resize((700, 500), Image.Resampling.BICUBIC)
    data = encode(smooth, "JPEG", quality=95)
    early = read_image(data, max_side=70).float()
    late = shrink(read_image(data), 70)[0].float()
    assert early.shape == late.shape == (3, 50, 70)
    assert (early - late).abs().mean() < 1


@pytest.mark.parametrize("max_side", [0, -3])
def test_max_side_below_one_is_refused(max_side):
    with pytest.raises(InputError, match="max_side: wanted a whole number of at least 1"):
        read_image(PNG, max_side=max_side)
    with pytest.raises(InputError, match="max_side: wanted a whole number of at least 1"):
        shrink(TENSOR, max_side)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(5, 7, 3),
        torch.zeros(1, 3, 5, 7),
        torch.zeros(3, 0, 7),
        torch.zeros(3, 5, 7, dtype=torch.int64),
    ],
)
def test_tools_refuse_what_is_no_image(image):
    for tool in (to_pil, lambda i: shrink(i, 4)):
        with pytest.raises(ImageError, match="image: wanted"):
            tool(image)


# To PIL, and the hash


def test_to_pil():
    assert (np.asarray(to_pil(TENSOR)) == PIXELS).all()
    assert (np.asarray(to_pil(TENSOR / 255)) == PIXELS).all()
    assert to_pil(torch.zeros(3, 1, 4)).size == (4, 1)
    with pytest.raises(ImageError, match=r"wanted floats in \[0, 1\]"):
        to_pil(torch.full((3, 5, 7), 2.0))


def test_the_hash_is_of_shape_dtype_and_values():
    variants = [
        TENSOR,
        TENSOR.reshape(3, 7, 5),
        TENSOR.float(),
        TENSOR.to(torch.float16),
        TENSOR.flip(2),
        TENSOR.clone().index_fill_(2, torch.tensor([6]), 1),
    ]
    assert len({image_hash(v) for v in variants}) == len(variants)
    assert image_hash(TENSOR) == image_hash(TENSOR.clone())
    strided = torch.from_numpy(PIXELS).permute(2, 0, 1)
    assert not strided.is_contiguous()
    assert image_hash(strided) == image_hash(TENSOR)
    one = torch.zeros(3, 1, 1, dtype=torch.uint8)  # sha256(b"(3, 1, 1) torch.uint8 \0\0\0")
    assert image_hash(one) == ("f8f604c0fd6b659deabf6720079f3877e3679379e1c79ae81d7257a62a4b7909")


# From the network: a server on this machine


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/picture%20%C3%A9.png?size=1":
            assert self.headers["User-Agent"].startswith("chiaroscuro/")
            self.answer(200, PNG)
        elif self.path == "/there":
            self.answer(302, location="/picture%20%C3%A9.png?size=1")
        elif self.path == "/local":
            self.answer(302, location="file:///etc/hostname")
        elif self.path == "/page":
            self.answer(200, b"<!DOCTYPE html><p>This is the page of the picture.")
        elif self.path == "/hangs":
            self.server.released.wait(10)
        elif self.path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
        elif self.path == "/cut":
            self.answer(200, PNG[: len(PNG) // 2], length=len(PNG))
        else:
            self.answer(404)

    def answer(self, code, body=b"", location=None, length=None):
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("no_proxy", "127.0.0.1")
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "page", ["/picture%20%C3%A9.png?size=1", "/picture é.png?size=1", "/there"]
)
def test_a_picture_from_an_address(server, page):
    assert read_image(server + page).equal(TENSOR)
    assert read_image(server.replace("http", "HTTP") + page).equal(TENSOR)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("/absent.png", "answered 404 Not Found; check the address"),
        ("/local", "cannot be reached|answered"),
        ("/page", "a web page; save the picture itself"),
        ("/nonsense", "cannot be reached"),
        ("/cut", "cut off"),
    ],
)
def test_addresses_without_a_picture(server, page, message):
    with pytest.raises(ImageError, match=message):
        read_image(server + page)


def test_a_silent_server_is_left(server, monkeypatch):
    monkeypatch.setattr(sources, "DOWNLOAD_TIMEOUT_S", 0.1)
    with pytest.raises(ImageError, match="timed out; check the address"):
        read_image(server + "/hangs")


def test_a_download_has_a_limit(server, monkeypatch):
    page = server + "/there"
    monkeypatch.setattr(sources, "DOWNLOAD_LIMIT_BYTES", len(PNG))
    assert read_image(page).equal(TENSOR)
    monkeypatch.setattr(sources, "DOWNLOAD_LIMIT_BYTES", len(PNG) - 1)
    with pytest.raises(ImageError, match=f"more than {len(PNG) - 1} bytes"):
        read_image(page)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.png", "file:///etc/passwd", "data://x"])
def test_only_http_and_https(url):
    with pytest.raises(ImageError, match="with http:// or https://"):
        read_image(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.png", "http://", "http://[half", "http://h:x/"]
)
def test_addresses_that_lead_nowhere(url, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ImageError, match=r"cannot be reached|check the address"):
        read_image(url)


def test_a_picture_is_hashed_once_and_again_after_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_hashed = 0
    original = hashes._hash

    def counted(image: torch.Tensor) -> str:
        nonlocal n_hashed
        n_hashed += 1
        return original(image)

    monkeypatch.setattr(hashes, "_hash", counted)
    image = torch.zeros(3, 4, 5, dtype=torch.uint8)
    first = hashes.image_hash(image)
    assert hashes.image_hash(image) == first
    assert n_hashed == 1
    image[0, 0, 0] = 1
    assert hashes.image_hash(image) != first
    assert hashes.image_hash(image.clone()) == hashes.image_hash(image)
    assert n_hashed == 3

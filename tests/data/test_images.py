"""Images of every kind become RGB as a viewer shows them; what is none is refused by name."""

import struct

import cv2
import numpy as np
import pytest
from conftest import photo
from fakes import bomb
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.data.images import read_image
from fcnxs.data.labels import read_label
from fcnxs.data.loader import FileIter

# Where row 0 and column 0 of what is stored are seen: EXIF 2.32, 4.6.4, tag 274.
STORED = {
    1: lambda seen: seen,  # top, left
    2: lambda seen: seen[:, ::-1],  # top, right
    3: lambda seen: seen[::-1, ::-1],  # bottom, right
    4: lambda seen: seen[::-1],  # bottom, left
    5: lambda seen: seen.swapaxes(0, 1),  # left, top
    6: lambda seen: seen[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda seen: seen[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.fixture
def wide(tmp_path):
    """Grey values of 16 bits, and what becomes of them."""
    values = np.random.default_rng(3).integers(0, 65536, (40, 50)).astype(np.uint16)
    values[0, :4] = 0, 255, 256, 65535
    return values, np.repeat((values >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_turns_an_image_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](photo())))
    stored.save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), photo())
    stored.convert("L").save(tmp_path / "grey.jpg", exif=exif)
    assert read_image(tmp_path / "grey.jpg").shape == (60, 70, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"MM\0*\0\0\0\x08\0\x09 and so on", b"no header"])
def test_exif_that_cannot_be_read_turns_nothing(exif, tmp_path):
    Image.fromarray(photo()).save(tmp_path / "image.png", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), photo())


def test_exif_that_cannot_be_written_anew_turns_all_the_same(tmp_path):
    """Of two entries the second, the camera's name, is a fraction, over which Pillow stumbles."""
    exif = b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif += struct.pack(">HHII", 0x010F, 5, 1, 38) + struct.pack(">III", 0, 145, 2)
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](photo())))
    stored.save(tmp_path / "image.png", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), photo())


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB"])
def test_grey_and_palettes_become_rgb(mode, tmp_path):
    image = Image.fromarray(photo()).convert(mode)
    image.save(tmp_path / "image.png")
    values = np.asarray(image)
    if mode == "P":
        expected = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)[values]
    else:
        expected = np.broadcast_to(values.reshape(60, 70, -1) * (255 if mode == "1" else 1), (60, 70, 3))
    result = read_image(tmp_path / "image.png")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_white_is_behind_what_is_transparent(mode, tmp_path):
    image, alpha = photo().astype(int), photo(seed=9)[..., :1].astype(int)
    alpha[0], alpha[1] = 0, 255
    if mode == "LA":
        image = image[..., :1]
    values = np.concatenate([image, alpha], axis=2).astype(np.uint8)
    Image.fromarray(values, mode).save(tmp_path / "image.png")
    result = read_image(tmp_path / "image.png")
    expected = (image * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(result - expected).max() <= 0.5 + 1e-9
    assert (result[0] == 255).all() and (result[1] == image[1]).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_white_is_in_place_of_a_transparent_colour(mode, tmp_path):
    image = Image.fromarray(photo()).convert(mode)
    clear = image.getpixel((3, 5))
    for end in ("png", "gif") if mode == "P" else ("png",):
        image.save(tmp_path / f"image.{end}", transparency=clear)
        expected = np.array(image.convert("RGB"))
        expected[(np.asarray(image).reshape(60, 70, -1) == clear).all(axis=2)] = 255
        assert (expected[5, 3] == 255).all()
        np.testing.assert_array_equal(read_image(tmp_path / f"image.{end}"), expected)


def test_cmyk_is_what_opencv_makes_of_it(tmp_path):
    rows, columns = np.mgrid[:60, :70].astype(np.uint8)
    image = Image.fromarray(np.stack([4 * rows, 3 * columns, 2 * rows + columns], -1)).convert("CMYK")
    image.save(tmp_path / "image.jpg", quality=95)  # inverted, as Adobe has it
    expected = cv2.imread(str(tmp_path / "image.jpg"))[..., ::-1].astype(int)
    assert np.abs(read_image(tmp_path / "image.jpg") - expected).max() <= 2


@pytest.mark.parametrize("end", ["png", "tif", "pgm"])
def test_the_upper_half_of_16_grey_bits_counts(end, wide, tmp_path):
    values, expected = wide
    assert cv2.imwrite(str(tmp_path / f"image.{end}"), values)
    np.testing.assert_array_equal(read_image(tmp_path / f"image.{end}"), expected)


def test_16_bits_are_the_same_in_grey_in_colours_and_in_either_order(wide, tmp_path):
    values, expected = wide
    Image.fromarray(values.astype(">u2")).save(tmp_path / "big.tif")
    cv2.imwrite(str(tmp_path / "rgb.png"), np.dstack([values] * 3))
    cv2.imwrite(str(tmp_path / "rgba.png"), np.dstack([values] * 3 + [np.full_like(values, 65535)]))
    Image.fromarray(values).save(tmp_path / "clear.png", transparency=int(values[7, 7]))
    for name in ("big.tif", "rgb.png", "rgba.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), expected)
    expected[values == values[7, 7]] = 255
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png"), expected)


def test_training_reads_images_alike_and_labels_as_they_are(wide, tmp_path):
    values, expected = wide
    Image.fromarray(values).save(tmp_path / "image.png")
    Image.fromarray(values % 3).save(tmp_path / "label.png")
    (tmp_path / "all.lst").write_text("0\timage.png\tlabel.png\n")
    batch = FileIter(tmp_path, "all.lst", (0, 0, 0)).next()
    np.testing.assert_array_equal(batch["data"][0].transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(batch["softmax_label"][0], values % 3)
    with pytest.raises(FCNXSError, match=r"image.png: value \d+ in \d+ pixels is neither"):
        read_label(tmp_path / "image.png")


def test_what_is_no_image_is_named(tmp_path, monkeypatch):
    file = tmp_path / "x.jpg"
    Image.fromarray(photo()).save(file)
    whole = file.read_bytes()
    for content, why in (
        (whole[: len(whole) // 2], "cannot read this image: image file is truncated"),
        (b"", "empty"),
        (b"no picture\n", "not an image of a known format"),
        (bomb(60_000), "60000x60000 are 3,600,000,000 pixels, and the limit is 179,000,000"),
    ):
        file.write_bytes(content)
        with pytest.raises(FCNXSError, match=rf"x\.jpg: {why}"):
            read_image(file)
    for dtype in (np.float32, np.int32):
        Image.fromarray(np.ones((4, 5), dtype)).save(tmp_path / "x.tif")
        with pytest.raises(
            FCNXSError, match=r"x\.tif: .* not define which values are black .* with 8 or 16 bits"
        ):
            read_image(tmp_path / "x.tif")
    (tmp_path / "d.jpg").mkdir()
    for name, why in (("d.jpg", "is a folder, not a file"), ("none.jpg", "no such file")):
        with pytest.raises(FCNXSError, match=f"{name}: {why}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (MemoryError(), "it does not fit into memory"),
        (struct.error("unpack requires 4 bytes"), "unpack requires 4 bytes"),
    ],
)
def test_whatever_a_decoder_raises_is_one_error_with_the_name(error, why, tmp_path, monkeypatch):
    def fail(*_, **how):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    (tmp_path / "x.png").touch()
    with pytest.raises(FCNXSError, match=f"x.png: cannot read this image: {why}"):
        read_image(tmp_path / "x.png")

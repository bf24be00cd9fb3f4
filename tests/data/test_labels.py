"""Labels of many formats: the class numbers that were saved, or a refusal."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from fakes import random_label, write_label
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.data.images import read_image
from fcnxs.data.labels import load_label, read_label
from fcnxs.vis import save_mask, voc_palette


def write_png(file, values, bits, palette=None):
    """A grey or palette PNG of few bits a pixel, written by hand: Pillow writes no grey one of 2 or 4."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    shifted = ((values[..., np.newaxis] >> np.arange(bits)[::-1]) & 1).astype(np.uint8)
    rows = np.packbits(shifted.reshape(len(values), -1), axis=1)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0 if palette is None else 3, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += b"" if palette is None else chunk(b"PLTE", bytes(palette))
    content += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    file.write_bytes(content + chunk(b"IEND", b""))
    return file


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", [None, bytes(range(48)) * 2])
def test_all_values_of_any_number_of_bits_are_read_as_saved(bits, palette, tmp_path):
    values = np.arange(7 * 37).reshape(7, 37) % min(2**bits, 32 if palette else 255)
    palette = palette and palette[: 3 * 2**bits]
    np.testing.assert_array_equal(read_label(write_png(tmp_path / "l.png", values, bits, palette)), values)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(("l.png", {}), ("l.bmp", {}), ("l.gif", {}), ("l.tif", {}), ("l.pgm", {})),
        *(("l.tif", {"compression": "tiff_lzw"}), ("l.png", {"bits": 8})),
    ],
)
@pytest.mark.parametrize("palette", [False, True])
def test_formats_without_loss(name, settings, palette, tmp_path):
    values = random_label(range(21))
    image = Image.fromarray(values)
    if palette and name != "l.pgm":
        image.putpalette(sum(voc_palette(21), []))
    image.save(tmp_path / name, **settings)
    np.testing.assert_array_equal(read_label(tmp_path / name, 21), values)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_sixteen_bits_and_more(dtype, tmp_path):
    values = random_label(range(200)).astype(dtype)
    file = tmp_path / "l.tif"
    Image.fromarray(values).save(file)
    np.testing.assert_array_equal(read_label(file), values)
    Image.fromarray(values * np.array(257, dtype)).save(file)
    with pytest.raises(FCNXSError, match=r"l.tif: value \d+ in \d+ pixels is neither one of the 255"):
        read_label(file)


def lossy(file):
    Image.fromarray(random_label(range(3))).save(file, "JPEG", quality=95)


def lossy_tiff(file):
    Image.fromarray(random_label(range(3))).save(file, "TIFF", compression="jpeg")


def inverted(file):
    Image.fromarray(random_label(range(3))).save(file, "TIFF", tiffinfo={262: 0})


def bitmap(file):
    Image.fromarray(random_label(range(2)).astype(bool)).save(file, "PPM")


def spread(file):
    file.write_bytes(b"P5\n4 2\n15\n" + bytes(range(8)))


@pytest.mark.parametrize(
    ("write", "kind", "why"),
    [
        (lossy, "lossy", r"saved as JPEG, with a loss that changes .*save labels as PNG \(this one has \d+ "),
        (lossy_tiff, "lossy", "saved as TIFF, with a loss"),
        (inverted, "rescaled", "a TIFF whose values are inverted"),
        (bitmap, "rescaled", "a PPM whose values are inverted"),
        (spread, "rescaled", "a PPM whose values are spread from 0 to 15 over 0 to 255"),
    ],
)
def test_values_that_a_decoder_changes_are_refused_unless_allowed(write, kind, why, tmp_path):
    """By the content of the file, whatever its name."""
    file = tmp_path / "label.png"
    write(file)
    with pytest.raises(FCNXSError, match=rf"label.png: {why}.*--allow {kind}"):
        read_label(file)
    label = load_label(file, allow=[kind])
    np.testing.assert_array_equal(label.values, np.asarray(Image.open(file)))
    assert [found for found, _ in label.faults] == [kind]


def test_colours_are_those_of_the_palette(tmp_path):
    values = random_label([0, 3, 255])
    save_mask(tmp_path / "l.png", values, voc_palette())
    colours = load_label(tmp_path / "l.png").colours
    shown = np.asarray(Image.open(tmp_path / "l.png").convert("RGB"), np.int64) @ (1, 256, 65536)
    np.testing.assert_array_equal(colours[values], shown)
    write_label(tmp_path / "grey.png", values)
    image = Image.fromarray(values)
    image.putpalette([level for level in range(256) for _ in range(3)])
    image.save(tmp_path / "greys.png")
    assert load_label(tmp_path / "grey.png").colours is load_label(tmp_path / "greys.png").colours is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["l.png", "l.tif", "l.jpg"])
def test_exif_is_applied_or_ignored_alike_for_images_and_labels(orientation, name, tmp_path):
    file, exif, stored = tmp_path / name, Image.Exif(), np.zeros((96, 144), np.uint8)
    exif[0x0112] = orientation
    stored[:32, :48], stored[64:] = 100, 200
    Image.fromarray(stored).save(file, exif=exif, **{"compression": "tiff_lzw"} if name == "l.tif" else {})
    stored = np.asarray(Image.open(file)) if name == "l.jpg" else stored
    upright = {  # EXIF's table: 6 is stored turned to the left, 8 to the right
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].T,
        8: np.rot90(stored),
    }[orientation]
    for mode, expected in (("apply", upright), ("ignore", stored)):
        np.testing.assert_array_equal(read_image(file, mode)[..., 0], expected)
        label = load_label(file, exif=mode, allow=["lossy"])
        np.testing.assert_array_equal(label.values, expected)
        assert label.orientation == orientation
    if name == "l.tif" and orientation > 4:  # Pillow 13 mixes the pixels up
        Image.fromarray(stored).save(file, exif=exif)
        with pytest.raises(FCNXSError, match="an uncompressed TIFF that EXIF turns by 90 degrees; save it as"):
            read_image(file)
    if name == "l.jpg":  # as OpenCV turns it
        np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), upright)

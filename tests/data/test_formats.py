"""Training reads the formats that `segment` reads, whatever the case of the suffix; odd TIFFs are refused."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from conftest import photo
from PIL import Image

from fcnxs.data.images import IMAGE_SUFFIXES, read_image
from fcnxs.data.layouts import open_samples
from fcnxs.data.lists import LOSSLESS, read_list
from fcnxs.errors import FCNXSError
from fcnxs.tools.main import main
from fcnxs.tools.shared import inputs

GREY, RGB, CONTIGUOUS, PLANES = 1, 2, 1, 2  # values of a TIFF's tags
LABEL = np.arange(60 * 70, dtype=np.uint8).reshape(60, 70) % 3


def write(file, array):
    image = Image.fromarray(array)
    if file.suffix.lower() == ".pbm":
        image = image.convert("1")
    elif file.suffix.lower() == ".pgm":
        image = image.convert("L")
    image.save(file, **({"lossless": True} if file.suffix.lower() == ".webp" else {}))


def write_tiff(file, array, kind, planar=CONTIGUOUS, form=1, extra=0, order="<"):
    """Write an uncompressed TIFF of (H, W, bands), tag by tag as its specification says (TIFF 6.0)."""
    height, width, bands = array.shape
    stored = array if planar == CONTIGUOUS else array.transpose(2, 0, 1)
    stored = np.ascontiguousarray(stored).astype(array.dtype.newbyteorder(order))
    strips = 1 if planar == CONTIGUOUS else bands
    size = stored.nbytes // strips
    tags = {
        **{256: (width,), 257: (height,), 258: (array.itemsize * 8,) * bands, 259: (1,), 262: (kind,)},
        **{273: None, 277: (bands,), 278: (height,), 279: (size,) * strips, 284: (planar,)},
        **({338: (extra,) * (bands - 3)} if bands > 3 and kind == RGB else {}),
        339: (form,) * bands,
    }
    end = 8 + 2 + 12 * len(tags) + 4
    pixels = end + sum(4 * len(values) for values in tags.values() if values and len(values) > 1) + 4 * strips
    tags[273] = tuple(pixels + i * size for i in range(strips))
    entries, more = b"", b""
    for tag, values in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            value, more = struct.pack(f"{order}I", end + len(more)), more + value
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + value
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    body = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + more
    file.write_bytes((head + body).ljust(pixels, b"\0") + stored.tobytes())


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".BMP", ".WebP", ".gif", ".JPG"])
def test_every_format_is_trained_on(suffix, tmp_path):
    voc = tmp_path / "voc"
    for folder in ("images", "labels", "voc/JPEGImages", "voc/SegmentationClass", "voc/ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    write(tmp_path / "images" / f"a{suffix}", photo())
    write(tmp_path / "labels" / "a.BMP", LABEL)
    expected = read_image(tmp_path / "images" / f"a{suffix}")
    if suffix.lower() not in (".gif", ".jpg"):  # which have fewer colours, or a loss
        np.testing.assert_array_equal(expected, photo())
    image, label = open_samples(tmp_path).read(0)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(label, LABEL)
    assert main(["check-data", str(tmp_path), "--num-classes", "3"]) == 0

    write(voc / "JPEGImages" / f"a{suffix}", photo())
    write(voc / "SegmentationClass" / "a.tif", LABEL)
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\n")
    np.testing.assert_array_equal(open_samples(voc).read(0)[0], expected)
    (voc / "two.txt").write_text(f"/JPEGImages/a{suffix} /SegmentationClass/a.tif\n")
    assert read_list(voc, "two.txt") == [(voc / f"JPEGImages/a{suffix}", voc / "SegmentationClass/a.tif")]


def test_a_folder_is_read_alike_by_segment_and_by_training(tmp_path):
    for suffix in IMAGE_SUFFIXES:
        for folder, array in (("images", photo()), ("labels", LABEL)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write(tmp_path / folder / f"{suffix[1:]}{suffix if folder == 'images' else '.png'}", array)
    found, errors = inputs.found([str(tmp_path / "images")], tmp_path / "masks")
    assert not errors
    assert [each.file for each in found] == sorted(open_samples(tmp_path).images)
    assert len(found) == len(IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_labels_of_every_lossless_format_are_read(suffix, tmp_path):
    label = LABEL % 2 if suffix == ".pbm" else LABEL
    write(tmp_path / "a.png", photo())
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.png").rename(tmp_path / "images" / "a.png")
    if suffix == ".pbm":  # of which 1 is black
        (tmp_path / "labels/a.pbm").write_bytes(
            b"P4 70 60\n" + np.packbits(label.astype(bool), axis=1).tobytes()
        )
    else:
        write(tmp_path / "labels" / f"a{suffix}", label)
    samples = open_samples(tmp_path).reading(allow=["rescaled"] if suffix == ".pbm" else [])
    values = samples.read(0)[1]
    np.testing.assert_array_equal(values, 1 - label if suffix == ".pbm" else label)


def test_two_images_of_one_name_are_refused(tmp_path):
    for file in ("images/a.png", "images/a.TIF", "labels/a.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write(tmp_path / file, photo() if "images" in file else LABEL)
    with pytest.raises(FCNXSError, match=r"a\.\w+: differs from a\.\w+ only by its suffix; remove one"):
        open_samples(tmp_path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tiffs_of_8_and_16_bits_keep_their_upper_8(dtype, order, tmp_path):
    rng, most = np.random.default_rng(0), np.iinfo(dtype).max
    shift, file = 8 * (np.dtype(dtype).itemsize - 1), tmp_path / "a.tif"
    for bands, kind in ((1, GREY), (3, RGB), (4, RGB)):
        array = rng.integers(0, most, (30, 40, bands), endpoint=True).astype(dtype)
        write_tiff(file, array, kind, order=order)
        expected = np.broadcast_to((array >> shift)[..., :3], (30, 40, 3))
        np.testing.assert_array_equal(read_image(file), expected)


@pytest.mark.parametrize(
    ("dtype", "bands", "kind", "planar"),
    [
        *itertools.product(["uint8", "uint16"], [5, 8], [RGB, GREY], [CONTIGUOUS, PLANES]),
        *itertools.product(["uint8", "uint16", "float32"], [3, 4], [GREY], [CONTIGUOUS, PLANES]),
        *itertools.product(["uint32", "float32"], [3], [RGB], [CONTIGUOUS, PLANES]),
    ],
)
def test_other_bands_are_refused_by_their_name(dtype, bands, kind, planar, tmp_path, capfd):
    array = np.random.default_rng(0).integers(0, 256, (30, 40, bands)).astype(dtype)
    write_tiff(tmp_path / "a.tif", array, kind, planar, form=3 if dtype == "float32" else 1)
    with pytest.raises(FCNXSError) as caught:
        read_image(tmp_path / "a.tif")
    bits = 8 * np.dtype(dtype).itemsize
    assert f"a.tif: a TIFF of {bands} bands of {bits} bits" in str(caught.value)
    assert ("floating-point" in str(caught.value)) == (dtype == "float32")
    assert "gdal_translate" in str(caught.value)
    assert capfd.readouterr().err == ""  # Pillow logs an error of its own


def test_planes_are_read_or_refused_but_not_garbled(tmp_path):
    rng, file = np.random.default_rng(0), tmp_path / "a.tif"
    array = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    write_tiff(file, array, RGB, PLANES)
    np.testing.assert_array_equal(read_image(file), array)
    for bands, kind in ((3, RGB), (4, RGB), (2, GREY)):
        write_tiff(file, rng.integers(0, 65536, (30, 40, bands)).astype(np.uint16), kind, PLANES)
        with pytest.raises(FCNXSError, match=f"a TIFF of {bands} bands of 16 bits in planes, not compressed"):
            read_image(file)

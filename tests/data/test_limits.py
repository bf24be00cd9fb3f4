"""What is opened: by its format, its size in the header, and whether it is a file at all."""

import io
import os
import socket
import threading
import time
import warnings

import headers
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from fcnxs import FCNXSError
from fcnxs.data.images import TooManyPixels, UnknownFormat, read_image
from fcnxs.data.labels import load_label, read_label
from fcnxs.data.layouts import open_samples
from fcnxs.deploy.handler import Refused, read_body
from fcnxs.system.files import read_text, sha256_of

SIDE = 65_500


@pytest.mark.parametrize("make", headers.ALL)
@pytest.mark.parametrize("read", [read_image, read_label])
def test_a_size_is_told_from_the_header(make, read, tmp_path):
    (tmp_path / "huge.png").write_bytes(make(SIDE, SIDE))  # whatever the suffix
    began = time.process_time()
    with pytest.raises(TooManyPixels, match=r"huge.png: .*pixels, and the limit is 179,000,000 \(--max-pixels"):
        read(tmp_path / "huge.png")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_the_limit_is_the_last_size_that_is_read(kind, tmp_path, monkeypatch):
    """Pillow's own limit, an error from twice as many pixels on and a warning below, has no say."""
    file = tmp_path / "image"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(file, format=kind)
    for limit in (800, 500):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_image(file, max_pixels=1200).shape == (30, 40, 3)
            if kind != "WEBP":  # which has colours alone
                assert load_label(file, allow=["lossy"], max_pixels=1200).values.shape == (30, 40)
            for read in (read_image, load_label):
                with pytest.raises(TooManyPixels, match="image: 40x30 are 1,200 pixels, .* 1,199"):
                    read(file, max_pixels=1199)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_share_pillow_s_limit(tmp_path):
    before, file = Image.MAX_IMAGE_PIXELS, tmp_path / "image.png"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(file)
    threads = [threading.Thread(target=lambda: [read_image(file) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_data_set_has_one_limit_for_images_and_labels(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / folder / "a.png")
    samples = open_samples(tmp_path)
    assert samples.read(0)[1].shape == samples.reading(max_pixels=1200).read(0)[1].shape == (30, 40)
    with pytest.raises(TooManyPixels, match="images/a.png"):
        samples.reading(max_pixels=1199).subset([0]).read(0)
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(TooManyPixels, match="labels/a.png"):
        samples.reading("ignore", max_pixels=1199).read(0)


def test_the_server_has_the_same_rule():
    for make in (headers.png, headers.jpeg):
        with pytest.raises(Refused, match="65500x65500 pixels is too large") as refused:
            read_body(make(SIDE, SIDE))
        assert refused.value.status == 413


def saved(kind):
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
        (saved("JPEG2000"), "JPEG2000"),
        (saved("PCX"), "PCX"),
        (b"\x59\xa6\x6a\x95" + bytes(60), "SUN"),
        (b"\x76\x2f\x31\x01" + bytes(60), "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "HEIF"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
@pytest.mark.parametrize("name", ["x.jpg", "x.eps"])
def test_other_formats_are_refused_by_content(content, kind, name, tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)  # not even looked for
    (tmp_path / name).write_bytes(content)
    for read in (read_image, read_label):
        with pytest.raises(UnknownFormat, match=rf"{name}: an image in the format {kind}, .* JPEG or PNG"):
            read(tmp_path / name)


def test_formats_without_a_mark_of_their_own_are_refused(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "x.tga")
    for content in ((tmp_path / "x.tga").read_bytes(), b"B", b"\0\0"):
        (tmp_path / "x.tga").write_bytes(content)
        with pytest.raises(UnknownFormat, match="not an image of a known format"):
            read_image(tmp_path / "x.tga")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_files_of_countless_empty_parts_are_refused(kind, tmp_path):
    """Of a million of them, 12 MB, Pillow made half a minute; a hundred are read."""
    file, picture = tmp_path / "x", io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(picture, kind)
    at, part = (2, b"\xff\xec\0\2") if kind == "JPEG" else (33, b"\0\0\0\0teSt\x4d\xfb\x5a\xae")
    for count in (100, 20_000):
        file.write_bytes(picture.getvalue()[:at] + count * part + picture.getvalue()[at:])
        if count == 100:
            assert read_image(file)[4, 4].argmax() == 0
    with pytest.raises(FCNXSError, match="x: cannot read this image: its parts have less than 64 bytes"):
        read_image(file)


def test_what_is_no_file_is_refused_unopened(tmp_path, monkeypatch):
    """A pipe would block for ever, and a device never end."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    os.symlink("/dev/zero", "zero.png")
    os.mkdir("folder.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
    reads = (read_image, read_label, sha256_of, lambda file: read_text(file, "a list"))
    kinds = {"pipe": "a pipe", "zero": "a device", "folder": "a folder", "socket": "a socket"}
    for name, kind in kinds.items():
        for read in reads:
            with pytest.raises(FCNXSError, match=f"{name}.png: is {kind}, not a file"):
                read(f"{name}.png")


def test_links_to_themselves_and_long_names_are_named(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, why in (("loop.png", "Too many levels of symbolic links"), ("x" * 300, "File name too long")):
        for read in (read_image, read_label):
            with pytest.raises(FCNXSError, match=f"{name}: cannot read this image: {why}"):
                read(tmp_path / name)

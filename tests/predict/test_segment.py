"""The command segment on folders and on images too large for the memory; the Segmenter's weights and memory."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from fakes import bomb
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.predict import Segmenter, forward, image_files
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.main import main
from fcnxs.tools.shared.inputs import Input
from fcnxs.vis import overlay, voc_palette


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    symbol = get_fcn8s_symbol(21, width=WIDTH, fc=FC)
    checkpoint.save(folder / "fcn8s", 0, symbol, random_params(symbol), {}, checkpoint.Meta())
    return folder / "fcn8s"


def command(prefix, output, *more):
    return ["segment", "--prefix", str(prefix), "--epoch", "0", "--output", str(output), *map(str, more)]


def save_photos(folder, sizes, end=".png"):
    folder.mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        Image.fromarray(photo(*size, seed=number)).save(folder / f"{number:02}{end}")
    return sorted(folder.iterdir())


def test_what_fails_is_named_at_once_and_at_the_end_and_the_rest_is_done(prefix, tmp_path, capsys, monkeypatch):
    folder, other = tmp_path / "images", tmp_path / "z.jpeg2"
    save_photos(folder, [(60, 70), (40, 50), (60, 70), (33, 90), (1, 1), (1, 500), (26, 26)])
    (folder / "01.png").rename(folder / "01.PNG")
    (folder / "02.png").write_bytes(b"no image")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "bomb.jpg").write_bytes(bomb(60_000))
    Image.fromarray(photo()).save(folder / "deep" / "er" / "00.png")
    Image.fromarray(photo()).save(other, format="JPEG")
    monkeypatch.setattr("fcnxs.predict.image_files.available_memory", lambda: 8e9)
    assert main(command(prefix, tmp_path / "masks", other, tmp_path / "none.png", folder)) == 1
    out, err = (text.splitlines() for text in capsys.readouterr())
    written = ["z.png", "00.png", "01.png", "03.png", "06.png", "deep/er/00.png"]
    assert [line.partition(":")[0] for line in out[:-1]] == [f"{tmp_path}/masks/{name}" for name in written]
    assert re.fullmatch(r"6 images in \d+\.\d s: \d+\.\d\d images/s", out[-1])
    bad = [tmp_path / "none.png", *(folder / name for name in ("02.png", "04.png", "05.png", "bomb.jpg"))]
    why = ["no such file", "not an image", "1x1 pixels is too small", "500x1 pixels is"]
    why.append("60000x60000 are 3,600,000,000 pixels, and the limit is 179,000,000 (--max-pixels gives")
    for line, file, reason in zip(err, bad, why):
        assert line.startswith(f"fcnxs: {file}: {reason}")
    assert err[5:] == ["fcnxs: 5 of 11 failed:", *(f"  {file}" for file in bad)]
    assert len([*(tmp_path / "masks").glob("**/*.png")]) == 2 * len(written)
    assert main(command(prefix, tmp_path / "no", tmp_path / "a.jpg", tmp_path / "b.jpg")) == 2
    assert capsys.readouterr().err == f"fcnxs: {tmp_path}/a.jpg: no such file; 1 more are not there either\n"
    assert not (tmp_path / "no").exists()


def test_a_limit_of_memory_changes_the_tiles_and_not_the_pictures(prefix, tmp_path, capsys, monkeypatch):
    """What is written by bands has the same pixels as what Pillow writes at once."""
    files = save_photos(tmp_path / "images", [(150, 190)], ".png")
    assert main(command(prefix, tmp_path / "whole", *files)) == 0
    assert main(command(prefix, tmp_path / "tiled", *files, "--memory-limit", "14MB", "--no-trim")) == 0
    monkeypatch.setattr(image_files, "LARGE", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of which Pillow makes an error from twice as many on
    assert main(command(prefix, tmp_path / "large", *files)) == 0
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.undo()
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()[::2]]  # without the rates
    assert len(lines) == 3 and len({*lines}) == 1
    masks, overlays = [], []
    for folder in ("whole", "tiled", "large"):
        with (
            Image.open(tmp_path / folder / "00.png") as mask,
            Image.open(tmp_path / folder / "00_overlay.png") as over,
        ):
            assert mask.mode == "P" and mask.getpalette() == sum(voc_palette(), []) and over.mode == "RGB"
            masks.append(np.asarray(mask))
            overlays.append(np.asarray(over))
    np.testing.assert_array_equal(overlays[0], overlay(photo(150, 190), masks[0], voc_palette()))
    for mask, over in zip(masks[1:], overlays[1:]):
        np.testing.assert_array_equal(mask, masks[0])
        np.testing.assert_array_equal(over, overlays[0])


@pytest.mark.parametrize("text", ["2", "GB", "0GB", "-1GB", "2 TB", "1e9"])
def test_a_limit_that_is_no_size_is_refused(prefix, text, tmp_path, capsys):
    assert main(command(prefix, tmp_path, "x.png", f"--memory-limit={text}")) == 2
    assert f"--memory-limit {text}: not a size; give one such as 2GB or 500MB" in capsys.readouterr().err


def test_what_no_tile_and_no_memory_is_enough_for_is_named(prefix, tmp_path, capsys, monkeypatch):
    files = save_photos(tmp_path / "images", [(60, 70), (50, 50)])
    assert main(command(prefix, tmp_path / "masks", *files, "--memory-limit", "1MB")) == 1
    err = capsys.readouterr().err
    assert "00.png: 70x60 pixels need 0.0" in err and "the limit is 0.001 GB" in err and "2 of 2 failed" in err
    assert not (tmp_path / "masks").exists()
    monkeypatch.setattr(image_files, "LARGE", 3000)
    monkeypatch.setattr("fcnxs.predict.image_files.available_memory", lambda: 30_000)
    assert main(command(prefix, tmp_path / "masks", files[0])) == 1
    assert "00.png: reading its 0 million pixels needs 0.0 GB" in capsys.readouterr().err


def test_an_interruption_leaves_whole_pictures_alone(prefix, tmp_path):
    files = save_photos(tmp_path / "images", [(200, 300)] * 40)
    arguments = command(prefix, tmp_path / "masks", files[0].parent)
    process = subprocess.Popen([sys.executable, "-m", "fcnxs", *arguments], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode == 130
    written = sorted(os.listdir(tmp_path / "masks"))
    assert 2 <= len(written) < 80 and len(written) % 2 == 0
    for name in written:
        with Image.open(tmp_path / "masks" / name) as image:
            image.load()


def test_the_answer_is_that_of_the_weights_at_construction(prefix, monkeypatch):
    """However the checkpoint's arrays are changed, and whatever sizes have been seen, often or never."""
    monkeypatch.setattr(forward, "OFTEN", 2)  # from which on MXNet may fuse
    source = checkpoint.load(prefix, 0)
    sizes = [(60, 70), (90, 40)]
    expected = {size: Segmenter(source)(photo(*size)) for size in sizes}
    segmenter = Segmenter(source)
    np.testing.assert_array_equal(segmenter(photo(*sizes[0])), expected[sizes[0]])
    for array in source.arg_params.values():
        array[:] = -array
    for size in sizes:
        for _ in range(3):
            np.testing.assert_array_equal(segmenter(photo(*size)), expected[size])
    assert (Segmenter(source)(photo(*sizes[0])) != expected[sizes[0]]).any()
    limited = Segmenter(source, memory_limit=12e6)
    before = limited(photo(*sizes[0]))
    for array in source.arg_params.values():
        array[:] = 0
    np.testing.assert_array_equal(limited(photo(*sizes[0])), before)


def test_mapped_parameters_are_those_of_the_file_and_leave_it_as_it_is(prefix):
    file = Path(f"{prefix}-0000.params")
    content = file.read_bytes()
    mapped, read = (checkpoint.load(prefix, 0, mapped=each).arg_params for each in (True, False))
    assert list(mapped) == list(read)
    for name, array in mapped.items():
        np.testing.assert_array_equal(array.asnumpy(), read[name].asnumpy())
        array[:] = 0
    assert file.read_bytes() == content


def test_executors_are_kept_for_few_sizes_and_dropped_for_tiles(prefix, monkeypatch):
    monkeypatch.setattr(forward, "SIZES", 3)
    monkeypatch.setattr(forward, "OFTEN", 2)
    segmenter = Segmenter(checkpoint.load(prefix, 0), trimmed=False)
    for side in (44, 43, 42, 41, 40):
        segmenter(photo(side, 50))
    assert [shape[2] for shape in segmenter._net.passes._kept] == [42, 41, 40]
    for side in (40, 41, 42):
        segmenter(photo(side, 50))
    assert sum(size.fused for size in segmenter._net.passes._kept.values()) == forward.FUSED
    segmenter.memory_limit = 14e6
    segmenter(photo(120, 150))
    assert not segmenter._net.passes._kept and segmenter._net.passes._memory.donor is None
    with pytest.raises(FCNXSError, match="an image: 20x20 pixels is too small"):
        segmenter(photo(20, 20))


def test_reading_and_writing_go_on_while_the_net_computes(prefix, tmp_path, monkeypatch):
    """The second image is read before the first is computed; the first is not waited for when it is written."""
    files, events = save_photos(tmp_path / "images", [(60, 70)] * 4), []
    segmenter = Segmenter(checkpoint.load(prefix, 0))
    read, write, compute = image_files._read, image_files._write, segmenter.class_map

    def noted(name, function):
        def call(*arguments):
            result = function(*arguments)
            events.append(name)
            return result

        return call

    def slow(data, where):
        time.sleep(0.3)
        events.append("computed")
        return compute(data, where)

    monkeypatch.setattr(image_files, "_read", noted("read", read))
    monkeypatch.setattr(image_files, "_write", noted("written", write))
    segmenter.class_map = slow
    inputs = [(file, Input(file, file.stem).targets(tmp_path / "masks")) for file in files]
    for result in image_files.segmented(segmenter, inputs, voc_palette()):
        assert result.result().sum() == 60 * 70
    assert events[:2] == ["read", "read"]
    assert events.count("written") == 4 and events.index("written") < len(events) - 1 - events[::-1].index(
        "computed"
    )

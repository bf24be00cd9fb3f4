"""--max-pixels in the commands: one rule for images, labels and videos; and what is no file, in all of them."""

import os
import subprocess
import sys
from pathlib import Path

import headers
import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

from fcnxs import FCNXSError, Segmenter, checkpoint
from fcnxs.predict.video_files import VideoReader
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.main import main
from fcnxs.vis import voc_palette


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    meta = checkpoint.Meta(classes=["ground", "cat", "dog"], palette=voc_palette(3))
    checkpoint.save(folder / "fcn8s", 0, symbol, random_params(symbol), {}, meta)
    return folder / "fcn8s"


@pytest.fixture
def data(tmp_path):
    """Two pairs of 70x60 and one of 90x60."""
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number, width in enumerate((70, 70, 90)):
        Image.fromarray(photo(60, width, seed=number)).save(tmp_path / "data" / "images" / f"{number}.png")
        label = np.random.default_rng(number).integers(0, 3, (60, width)).astype(np.uint8)
        Image.fromarray(label).save(tmp_path / "data" / "labels" / f"{number}.png")
    return tmp_path / "data"


def test_all_commands_have_the_same_limit(prefix, data, tmp_path, capsys):
    net = ["--prefix", str(prefix), "--epoch", "0"]
    commands = {
        "check-data": [str(data), "--num-classes", "3"],
        "evaluate": [*net, "--data", str(data), "--json", str(tmp_path / "scores.json")],
        "segment": [*net, f"{data}/images", "--output", str(tmp_path / "masks")],
    }
    said = r"2.png: 90x60 are 5,400 pixels, and the limit is 5,399 (--max-pixels gives another one)"
    for name, arguments in commands.items():
        assert main([name, *arguments, "--max-pixels", "5399"]) in (1, 2), name
        out, err = capsys.readouterr()
        assert said in out + err, name
        assert main([name, *arguments, "--max-pixels", "5400"]) == 0, name
        capsys.readouterr()
    finetune = ["finetune", *net, "--data", str(data), "--output", str(tmp_path / "run"), "--stages=fcn8s"]
    assert main([*finetune, "--max-pixels", "5399"]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(FCNXSError, match="90x60 are 5,400 pixels"):
        Segmenter(prefix, 0, max_pixels=5399)(data / "images" / "2.png")
    with pytest.raises(SystemExit):
        main(["segment", *commands["segment"], "--max-pixels", "0"])


def test_a_huge_header_is_refused_and_the_rest_is_done(prefix, data, tmp_path, capsys):
    (data / "images" / "0.png").write_bytes(headers.jpeg(65_500, 65_500))
    (data / "labels" / "1.png").write_bytes(headers.png(65_500, 65_500))
    said = "65500x65500 are 4,290,250,000 pixels, and the limit is 179,000,000"
    assert main(["check-data", str(data), "--num-classes", "3"]) == 1
    out = capsys.readouterr().out
    assert f"images/0.png: {said}" in out and f"labels/1.png: {said}" in out and "2 bad pairs of 3" in out
    output = tmp_path / "masks"
    command = ["segment", "--prefix", str(prefix), "--epoch", "0", f"{data}/images", "--output", str(output)]
    assert main(command) == 1
    assert f"images/0.png: {said}" in capsys.readouterr().err
    assert sorted(file.name for file in output.glob("?.png")) == ["1.png", "2.png"]


def test_what_is_no_file_and_a_name_that_is_too_long_are_named_and_the_rest_is_done(
    prefix, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    long = "x" * 245 + ".png"  # whose overlay's name is too long
    for name in (long, "ok.png"):
        Image.fromarray(photo()).save(name)
    os.mkfifo("pipe.png")
    os.mkfifo("pipe.mp4")
    Path("loop.png").symlink_to("loop.png")
    Path("zero.png").symlink_to("/dev/zero")
    images = ["pipe.png", "pipe.mp4", "zero.png", long, "loop.png", "y" * 300 + ".png", "ok.png"]
    assert main(["segment", "--prefix", str(prefix), "--epoch", "0", *images, "--output", "masks"]) == 1
    err = capsys.readouterr().err.splitlines()
    for line, name, why in zip(
        err,
        images,
        (
            *("is a pipe, not a file", "is a pipe, not a file", "is a device, not a file"),
            *("cannot write: File name too long", "Too many levels of symbolic links", "File name too long"),
        ),
    ):
        assert name[:200] in line and why in line
    assert err[6] == "fcnxs: 6 of 7 failed:" and sorted(os.listdir("masks")) == ["ok.png", "ok_overlay.png"]


def test_weights_and_lists_that_are_pipes_are_refused(prefix, data, tmp_path, capsys, monkeypatch):
    """Each in the place of a file that a command reads; nothing waits for a writer."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkfifo("net-symbol.json")
    caffe = str(Path(__file__).parents[2] / "fcnxs" / "vgg16_shapes.caffemodel")
    evaluate = ["evaluate", "--prefix", str(prefix), "--epoch", "0", "--data"]
    for command in (
        ["convert", "pipe", "o"],
        ["convert", caffe, "o", "--prototxt", "pipe"],
        ["convert", caffe, "o", "--mean-file", "pipe"],
        ["convert", caffe, "o", "--verify", "pipe"],
        ["convert", caffe, "o", "--classes", "pipe"],
        ["check-data", "pipe"],
        [*evaluate, "pipe"],
        [*evaluate, str(data), "--classes", "pipe"],
        [*evaluate, str(data), "--json", "pipe"],
        ["explain", "pipe"],
        ["segment", "--prefix", "net", "--epoch", "0", "x.png", "--output", "o"],
    ):
        Path("x.png").touch()
        assert main(command) == 2
        err = capsys.readouterr().err
        assert "is a pipe, not a file" in err and err.count("\n") == 1
    os.mkfifo(data / "classes.txt")
    assert main(["check-data", str(data)]) == 2
    assert "classes.txt: is a pipe, not a file" in capsys.readouterr().err


def test_standard_input_is_no_file(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "x.png")
    command = [sys.executable, "-m", "fcnxs", "check-data", "/dev/stdin"]
    done = subprocess.run(command, input=b"x.png x.png\n", capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and b"/dev/stdin: is a pipe, not a file; save its content" in done.stderr


def test_a_video_s_frames_have_the_limit_and_a_list_of_files_is_no_video(tmp_path):
    import cv2

    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert VideoReader(film, 64 * 48).read().shape == (48, 64, 3)
    with pytest.raises(FCNXSError, match="film.avi: 64x48 are 3,072 pixels, and the limit is 3,071"):
        VideoReader(film, 64 * 48 - 1)
    content = bytearray(film.read_bytes())
    header = content.index(b"strf") + 8  # a BITMAPINFOHEADER: width, height, and the codec, 0 for raw pixels
    content[header + 4 : header + 12] = (16_000).to_bytes(4, "little") * 2
    content[header + 16 : header + 20] = bytes(4)
    (tmp_path / "raw.avi").write_bytes(content.replace(b"MJPG", bytes(4), 1))
    with pytest.raises(FCNXSError, match="16000x16000 are 256,000,000 pixels"):
        VideoReader(tmp_path / "raw.avi")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile film.avi\n")
    with pytest.raises(FCNXSError, match=r"list.mp4: not a video of a known format"):
        VideoReader(tmp_path / "list.mp4")

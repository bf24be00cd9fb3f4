"""Videos in and out of the command segment, read back and compared with the Segmenter's answers."""

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image
from test_segment import command, prefix  # noqa: F401  (a fixture)

from fcnxs import FCNXSError, checkpoint
from fcnxs.predict import Segmenter, video_files
from fcnxs.predict.video_files import VideoReader, VideoWriter
from fcnxs.tools.main import main
from fcnxs.vis import overlay, voc_palette


def pictures(number, height, width):
    """Smooth pictures, RGB uint8: each says its number by its blue."""
    rows, columns = np.mgrid[:height, :width]
    return [
        np.stack([255 * rows // height, 255 * columns // width, np.full_like(rows, 12 * i)], -1).astype(
            np.uint8
        )
        for i in range(number)
    ]


def save(file, frames, rate=25.0, codec="FFV1"):
    """Write a video with OpenCV itself; FFV1 loses nothing."""
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return file


def read(file):
    """Rate, and frames as RGB, by OpenCV itself."""
    capture, frames = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG), []
    while True:
        there, frame = capture.read()
        if not there:
            return capture.get(cv2.CAP_PROP_FPS), frames
        frames.append(frame[..., ::-1])


def turned(file, degrees):
    """An .mp4 file that says, in its track's header, that it is to be turned (ISO/IEC 14496-12, 8.3.2)."""
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    width, height = (side >> 16 for side in struct.unpack(">II", content[at + 36 : at + 44]))
    matrix = {90: (0, 1, 0, -1, 0, 0, height, 0), 180: (-1, 0, 0, 0, -1, 0, width, height)}[degrees]
    content[at : at + 36] = struct.pack(">9i", *(value << 16 for value in matrix), 1 << 30)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(("height", "width", "rate"), [(48, 64, 25.0), (49, 65, 30000 / 1001), (33, 50, 12.5)])
def test_what_is_written_comes_back_of_even_size(height, width, rate, tmp_path):
    frames = pictures(12, height, width)
    with VideoWriter(tmp_path / "out.mp4", rate) as writer:
        for frame in frames:
            writer.write(frame)
    there, back = read(tmp_path / "out.mp4")
    assert there == pytest.approx(rate, abs=1e-3) and len(back) == 12
    for frame, other in zip(frames, back):
        assert other.shape == (height + height % 2, width + width % 2, 3)
        assert np.abs(other[:height, :width].astype(int) - frame).mean() < 6  # it is lossy
        if width % 2:
            assert np.abs(other[:height, -1].astype(int) - frame[:, -1]).mean() < 12


def test_frames_come_as_they_are_with_rate_and_count(tmp_path):
    frames = pictures(7, 48, 64)
    reader = VideoReader(save(tmp_path / "in.mkv", frames, 24.0))
    assert (reader.rate, reader.count) == (24.0, 7)
    for number, frame in enumerate(frames, 1):
        np.testing.assert_array_equal(reader.read(), frame)
        assert reader.frames == number
    assert reader.read() is None and reader.read() is None


@pytest.mark.parametrize("degrees", [90, 180])
def test_frames_are_upright(degrees, tmp_path):
    frames = pictures(3, 48, 64)
    reader = VideoReader(turned(save(tmp_path / "in.mp4", frames, codec="mp4v"), degrees))
    expected = np.rot90(frames[0], -degrees // 90)  # clockwise
    result = reader.read()
    assert result.shape == expected.shape and np.abs(result.astype(int) - expected).mean() < 6


def test_what_is_no_whole_video_is_named(tmp_path):
    whole = save(tmp_path / "whole.mkv", pictures(12, 48, 64)).read_bytes()
    mp4 = save(tmp_path / "whole.mp4", pictures(12, 48, 64), codec="mp4v").read_bytes()
    (tmp_path / "folder.mp4").mkdir()
    for name, content, why in (
        ("cut.mkv", whole[: len(whole) // 2], r"cut off: [4-7] of 12 frames can be read"),
        ("cut.mp4", mp4[: len(mp4) // 2], "not a video of a known format and codec, or cut off"),
        ("codec.mkv", whole.replace(b"FFV1", b"XXXX"), "not a video of a known format and codec"),
        ("none.mkv", whole[: whole.rindex(b"\x1f\x43\xb6\x75") + 8], "no frame of this video can be read"),
        ("text.mp4", b"no video\n" * 99, "not a video"),
        ("empty.mov", b"", "empty"),
        ("none.mp4", None, "cannot read this video: No such file"),
        ("folder.mp4", None, "is a folder, not a file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(FCNXSError, match=rf"{name}: {why}"):
            reader = VideoReader(tmp_path / name)
            while reader.read() is not None:
                pass


def test_a_video_s_maps_and_overlay_are_those_of_its_frames(prefix, tmp_path, capsys):  # noqa: F811
    """With another that is cut off, one that is too small, and an image between them."""
    frames = pictures(5, 49, 65)
    Image.fromarray(frames[0]).save(tmp_path / "image.png")
    files = [tmp_path / name for name in ("cut.mkv", "image.png", "small.mkv", "clip.mp4")]
    whole = save(files[0], pictures(12, 48, 64)).read_bytes()
    files[0].write_bytes(whole[: len(whole) * 2 // 3])
    save(files[2], pictures(2, 20, 24))
    save(files[3], frames, 30000 / 1001, "mp4v")
    _, frames = read(files[3])  # as they were stored
    assert main(command(prefix, tmp_path / "out", *files)) == 1
    out, err = (text.splitlines() for text in capsys.readouterr())
    assert out[0].startswith(f"{tmp_path}/out/image.png: class ")
    assert out[1].startswith(f"{tmp_path}/out/clip.zip: 5 frames, class ")
    assert out[2].startswith("1 image and 5 frames in ")
    assert "cut.mkv: cut off: 7 of 12" in err[0] and "small.mkv: 24x20 pixels is too small" in err[1]
    assert err[2:] == ["fcnxs: 2 of 4 failed:", f"  {files[0]}", f"  {files[2]}"]
    assert sorted(os.listdir(tmp_path / "out")) == [
        *("clip.zip", "clip_overlay.mp4", "image.png", "image_overlay.png")
    ]
    rate, overlays = read(tmp_path / "out" / "clip_overlay.mp4")
    assert rate == pytest.approx(29.97, abs=1e-2) and len(overlays) == len(frames) == 5
    segmenter = Segmenter(checkpoint.load(prefix, 0))
    with zipfile.ZipFile(tmp_path / "out" / "clip.zip") as archive:
        assert archive.namelist() == [f"{number:06}.png" for number in range(1, 6)]
        for name, frame, over in zip(archive.namelist(), frames, overlays):
            with Image.open(io.BytesIO(archive.read(name))) as mask:
                assert mask.mode == "P" and mask.getpalette() == sum(voc_palette(), [])
                expected = segmenter(np.ascontiguousarray(frame))
                np.testing.assert_array_equal(np.asarray(mask), expected)
            laid = overlay(np.ascontiguousarray(frame), expected, voc_palette())
            smooth = [cv2.blur(each[: len(laid), : laid.shape[1]], (9, 9)).astype(int) for each in (over, laid)]
            assert np.abs(smooth[0] - smooth[1]).mean() < 8


def test_few_frames_are_there_at_one_time(prefix, tmp_path, monkeypatch):  # noqa: F811
    """However long the video, and however slow the net or the writer is."""
    frames, lock, alive, most = pictures(1, 40, 50) * 40, threading.Lock(), [0], [0]

    def counted(change):
        with lock:
            alive[0] += change
            most[0] = max(most[0], alive[0])

    reader = VideoReader(save(tmp_path / "in.mkv", frames))
    read_one, add = reader.read, VideoWriter.write
    monkeypatch.setattr(reader, "read", lambda: (counted(1), read_one())[1])
    monkeypatch.setattr(VideoWriter, "write", lambda *all_: (add(*all_), counted(-1))[0])
    targets = tmp_path / "a.zip", tmp_path / "a_overlay.mp4"
    segmenter = Segmenter(checkpoint.load(prefix, 0))
    done = []
    video_files.segment_video(segmenter, reader, targets, voc_palette(), lambda: done.append(1))
    assert len(done) == 40 and 1 < most[0] <= 2 * video_files.AHEAD + 3


def test_a_disk_that_gets_full_leaves_nothing(prefix, tmp_path, capsys, monkeypatch):  # noqa: F811
    """OpenCV says nothing when frames are lost."""
    monkeypatch.setattr(video_files.VideoWriter, "release", lambda self: os.truncate(self._file, 100))
    file = save(tmp_path / "in.mkv", pictures(3, 40, 50))
    assert main(command(prefix, tmp_path / "out", file)) == 1
    assert "in_overlay.mp4: cannot write: the file was not written completely" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_video_leaves_nothing_and_opencv_says_nothing(prefix, tmp_path):  # noqa: F811
    save(tmp_path / "long.mkv", pictures(10, 200, 300) * 60)
    (tmp_path / "a.mp4").write_text("no video")
    Image.fromarray(pictures(1, 40, 50)[0]).save(tmp_path / "b.png")
    files = [tmp_path / name for name in ("a.mp4", "b.png", "long.mkv")]
    process = subprocess.Popen(
        [sys.executable, "-m", "fcnxs", *command(prefix, tmp_path / "out", *files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process.stdout.readline()  # the image is done
    while not list(tmp_path.glob("out/.fcnxs-*/long*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130 and sorted(os.listdir(tmp_path / "out")) == ["b.png", "b_overlay.png"]
    assert err.splitlines() == [
        f"fcnxs: {files[0]}: not a video of a known format and codec, or cut off",
        "fcnxs: interrupted",
    ]

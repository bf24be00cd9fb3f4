"""TensorBoard's files, read back record by record."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from fcnxs import FCNXSError
from fcnxs.finetune.tensorboard import TensorBoard
from fcnxs.score import NAMES, scores
from fcnxs.stages import RECIPES
from fcnxs.vis import voc_palette

FIRST, SECOND = RECIPES["adam"]["fcn32s"], RECIPES["adam"]["fcn8s"]
CLASSES = ["background", "a disc", "a_disc"]
MEAN = (10.0, 20.0, 30.0)


def checksum(data):
    """TFRecord's masked CRC."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """All events of a folder, file by file in the order of names; framing and checksums are checked."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        stream = io.BytesIO(file.read_bytes())
        while head := stream.read(12):
            (length,), (crc,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
            assert crc == checksum(head[:8])
            data = stream.read(length)
            assert struct.unpack("<I", stream.read(4)) == (checksum(data),)
            yield Event.FromString(data)


def points(folder):
    """Values by tag and step, as TensorBoard shows them: a start forgets what is there from its step on."""
    found = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            found = {tag: {s: v for s, v in at.items() if s < event.step} for tag, at in found.items()}
        for value in event.summary.value:
            at = found.setdefault(value.tag, {})
            assert event.step not in at, f"{value.tag} has two points at {event.step}"
            kind = value.WhichOneof("value")
            at[event.step] = value.image if kind == "image" else value.simple_value
    return {tag: at for tag, at in found.items() if at}


def board(folder, **settings):
    listener = TensorBoard(folder, CLASSES, voc_palette(3), MEAN, **settings)
    listener.begin([FIRST, SECOND], 4, 2)
    return listener


def losses(listener, stage, epoch, dones, images=1):
    """Steps whose loss says where they are."""
    for done in dones:
        listener.step(stage, epoch, done, images, 10 * epoch + done)


RECORD = {
    **{"stage": "fcn32s", "epoch": 2, "train_loss": 0.5, "val_loss": 0.75},
    **dict(zip(NAMES, (0.875, 0.75, 0.625, 0.5))),
}


def test_losses_rates_scores_and_the_classes_ius_are_there(tmp_path):
    listener = board(tmp_path)
    losses(listener, FIRST, 1, [1, 2, 3, 4])
    losses(listener, FIRST, 2, [2, 4], images=2)
    result = scores(np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]]))
    listener.epoch(RECORD, result)
    losses(listener, SECOND, 1, [1])
    listener.close()
    found = points(tmp_path / "fcn32s")
    assert found["loss"] == {1: 11, 2: 12, 3: 13, 4: 14, 6: 22, 8: 24}
    assert found["learning rate"] == {at: pytest.approx(1e-3) for at in found["loss"]}
    assert found["train loss"] == {8: 0.5} and found["val loss"] == {8: 0.75}
    shown = [found[f"scores/{name}"] for name in ("pixel accuracy", "mean accuracy", "mean iu")]
    assert shown == [{8: 0.875}, {8: 0.75}, {8: 0.625}]
    assert found["scores/frequency weighted iu"] == {8: 0.5}
    ius = {tag: at for tag, at in found.items() if tag.startswith("IU/")}
    assert ius == {"IU/background": {8: pytest.approx(0.6)}, "IU/a disc": {8: pytest.approx(0.6)}}  # one absent
    second = points(tmp_path / "fcn8s")
    assert second["loss"] == {1: 11} and second["learning rate"] == {1: pytest.approx(3e-4)}


def test_a_picture_shows_image_truth_and_prediction_side_by_side(tmp_path):
    listener = board(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    data = (image - np.float32(MEAN)).transpose(2, 0, 1)
    truth, class_map = np.full((20, 30), 2, np.uint8), np.zeros((20, 30), np.uint8)
    truth[:5] = 255
    class_map[:, :7] = 1
    listener.prediction(FIRST, 3, 1, data, truth, class_map)
    listener.close()
    ((at, shown),) = points(tmp_path / "fcn32s")["predictions/1"].items()
    picture = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    assert at == 12 and (shown.height, shown.width, shown.colorspace) == picture.shape
    parts = [picture[28:48, left : left + 30] for left in (8, 46, 84)]  # below the titles, with gaps of 8
    np.testing.assert_array_equal(parts[0], image)
    palette = voc_palette()
    for part, expected in zip(parts[1:], (truth, class_map)):
        np.testing.assert_array_equal(part, np.asarray(palette, np.uint8)[expected])


def test_a_run_that_goes_on_has_no_point_twice_and_loses_none(tmp_path):
    for dones, epoch in (([1, 2, 3], 1), ([3, 4], 1)):  # killed after the third, saved after the second
        listener = board(tmp_path)
        losses(listener, FIRST, epoch, dones)
        listener.close()
    listener = board(tmp_path)
    losses(listener, FIRST, 2, [1, 2])
    listener.saved(tmp_path / "fcn32s-last.params")
    losses(listener, FIRST, 2, [3])  # killed here: nothing is closed
    again = board(tmp_path)
    losses(again, FIRST, 2, [3, 4])
    again.epoch(RECORD, None)
    again.close()
    listener.close()
    assert points(tmp_path / "fcn32s")["loss"] == {1: 11, 2: 12, 3: 13, 4: 14, 5: 21, 6: 22, 7: 23, 8: 24}
    assert points(tmp_path / "fcn32s")["train loss"] == {8: 0.5}


def test_what_is_saved_or_an_epoch_is_on_the_disk(tmp_path):
    listener = board(tmp_path)
    losses(listener, FIRST, 1, [1, 2])
    listener.saved(tmp_path / "fcn32s-last.params")
    assert set(points(tmp_path / "fcn32s")["loss"]) == {1, 2}
    losses(listener, FIRST, 1, [3, 4])
    listener.epoch({**RECORD, "epoch": 1}, None)
    assert set(points(tmp_path / "fcn32s")["loss"]) == {1, 2, 3, 4}
    listener.close()


def test_speed_is_of_training_alone(tmp_path):
    now = [0.0]
    listener = board(tmp_path, clock=lambda: now[0])
    for done in (1, 2, 3):
        now[0] += 4
        losses(listener, FIRST, 1, [done])
    now[0] += 1000
    listener.evaluated(FIRST, 1, 2)
    now[0] += 20
    losses(listener, FIRST, 2, [4], images=4)
    listener.close()
    assert points(tmp_path / "fcn32s")["images per second"] == {3: 0.25, 8: pytest.approx(0.2)}


def test_a_step_without_pixels_that_count_has_no_loss(tmp_path):
    listener = board(tmp_path)
    listener.step(FIRST, 1, 1, 1, float("nan"))
    listener.epoch({**RECORD, "val_loss": None, **dict.fromkeys(NAMES)}, None)
    listener.close()
    assert set(points(tmp_path / "fcn32s")) == {"learning rate", "train loss"}


def test_without_tensorboardx_one_line_says_what_to_install(tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(FCNXSError, match=r"not installed: pip install tensorboardX"):
        board(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "fcn32s").write_text("a file")
    with pytest.raises(FCNXSError, match="fcn32s: cannot write TensorBoard's events: File exists"):
        losses(board(tmp_path), FIRST, 1, [1])

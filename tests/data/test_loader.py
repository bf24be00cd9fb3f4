"""Batches: the same bits whatever came before, threads that run ahead and end."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import write_image

from fcnxs import FCNXSError
from fcnxs.data.augment import Augmentation
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.data.samples import Samples

AUGMENTATION = Augmentation(crop_size=12, scale=(0.7, 1.5), flip=True, jitter=0.3)


class Memory(Samples):
    """Data set of random images, `sizes` by number; remembers which were read."""

    classes = palette = None

    def __init__(self, count, size=(14, 18), bad=()):
        self.count, self.size, self.bad, self.reads = count, size, bad, []

    def __len__(self):
        return self.count

    def name(self, number):
        return f"image {number}"

    label_name = name

    def read(self, number):
        self.reads.append(number)
        if number in self.bad:
            raise FCNXSError(f"image {number} is bad")
        rng = np.random.default_rng(number)
        height, width = self.size(number) if callable(self.size) else self.size
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        return image, rng.integers(0, 4, (height, width), np.uint8)


def same(batch, other):
    assert (batch.numbers, batch.files, batch.seed) == (other.numbers, other.files, other.seed)
    for name in ("data", "softmax_label"):
        np.testing.assert_array_equal(batch[name], other[name])
        assert batch[name].dtype == np.float32


def eventually(condition):
    deadline = time.time() + 600
    while not condition():
        assert time.time() < deadline
        time.sleep(0.01)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fcnxs-read")]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_batch_has_the_same_bits_whatever_came_before(batch_size):
    """And with any number of threads; alone or among others; with images left out or in another order."""
    settings = {"batch_size": batch_size, "augmentation": AUGMENTATION, "shuffle": True, "seed": 5}
    straight = Loader(Memory(10), workers=1, **settings)
    epochs = [list(straight)]
    for _ in range(2):
        straight.reset()
        epochs.append(list(straight))
    assert straight.batches == len(epochs[0]) == -(-10 // batch_size) and straight.epoch == 2
    for epoch in (2, 0, 1):
        positions = [2, 0, 3]
        other = Loader(Memory(10), workers=4, **settings)
        next(other)
        other.seek(epoch, positions)
        for position, batch in zip(positions, list(other)):
            same(batch, epochs[epoch][position])
        other.seek(epoch)
        assert [batch.numbers for batch in other] == [batch.numbers for batch in epochs[epoch]]
    assert epochs[0][0].numbers != epochs[1][0].numbers
    pictures = [{b.numbers: b["data"].tobytes() for b in epoch} for epoch in epochs]
    assert batch_size > 1 or all(pictures[0][key] != pictures[1][key] for key in pictures[0])


def test_every_image_comes_once_an_epoch_shared_by_any_number_of_loaders():
    for workers in (2, 3):
        shares = [Loader(Memory(11), batch_size=2, shuffle=True, seed=1) for _ in range(workers)]
        for rank, share in enumerate(shares):
            share.seek(4, range(rank, share.batches, workers))
        numbers = [number for share in shares for batch in share for number in batch.numbers]
        assert sorted(numbers) == list(range(11))


def test_what_is_left_out_is_not_read():
    memory = Memory(20)
    loader = Loader(memory, batch_size=2, workers=3)
    loader.seek(0, [7, 2])
    assert [batch.numbers for batch in loader] == [(14, 15), (4, 5)]
    assert sorted(memory.reads) == [4, 5, 14, 15]


def test_seeds_of_steps_differ_and_fit_31_bits():
    loader = Loader(Memory(6), seed=2**40)
    seeds = []
    for epoch in range(3):
        loader.seek(epoch)
        seeds += [batch.seed for batch in loader]
    assert len(set(seeds)) == 18 and all(0 <= seed < 2**31 for seed in seeds)
    assert seeds[0] != next(Loader(Memory(6), seed=2)).seed


def test_threads_read_ahead_but_not_all():
    memory = Memory(500)
    loader = Loader(memory, workers=2)
    for _ in range(3):
        next(loader)
    eventually(lambda: len(memory.reads) > 5)
    time.sleep(0.2)
    assert len(memory.reads) <= 3 + 1 + 2 * 2 + 1
    loader.close()


@pytest.mark.parametrize("end", ["close", "garbage", "all", "error"])
def test_threads_end(end):
    eventually(lambda: not readers())
    loader = Loader(Memory(50, bad=[2]) if end == "error" else Memory(50), workers=3)
    next(loader)
    assert readers()
    if end == "close":
        loader.close()
        assert not loader.iter_next()
    elif end == "garbage":
        del loader
    elif end == "all":
        list(loader)
    else:
        with pytest.raises(FCNXSError):
            list(loader)
        del loader
    eventually(lambda: not readers())


def test_what_has_not_begun_when_it_is_closed_never_does():
    memory, gate = Memory(50), threading.Event()
    read = memory.read
    memory.read = lambda number: (gate.wait(60), read(number))[1]
    loader = Loader(memory, workers=2)
    assert loader.iter_next()  # five or so are asked for, and two begin
    loader.close()
    gate.set()
    eventually(lambda: not readers())
    assert len(memory.reads) <= 2


def test_a_signal_ends_a_process_that_reads(tmp_path):
    """A hundred seconds of reading lie ahead; the time that is given is for slow machines."""
    script = (
        f"import sys, time; sys.path.append({str(Path(__file__).parent.parent)!r})\n"
        "from fcnxs.data.loader import Loader\n"
        "from test_loader import Memory\n"
        "class Slow(Memory):\n"
        "    def read(self, number):\n"
        "        time.sleep(0.2)\n"
        "        return super().read(number)\n"
        "for batch in Loader(Slow(1000), workers=2): print('going', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=__file__.rpartition("/")[0],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "going\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode not in (0, None)


def test_an_error_is_raised_at_its_image_and_the_next_one_can_be_had():
    loader = Loader(Memory(5, bad=[2]), workers=4)
    assert [next(loader).numbers for _ in range(2)] == [(0,), (1,)]
    with pytest.raises(FCNXSError, match="image 2 is bad"):
        next(loader)
    assert loader.current == Path("image 2")
    assert [batch.numbers for batch in loader] == [(3,), (4,)]


def test_labels_that_are_no_classes_are_refused_by_name():
    assert len(list(Loader(Memory(2), num_classes=4))) == 2
    with pytest.raises(FCNXSError, match=r"image 0: value 3 .* neither one of the 3 classes"):
        next(Loader(Memory(2), num_classes=3))


def test_images_of_one_batch_have_one_size():
    loader = Loader(Memory(4, size=lambda number: (10, 11 + number // 3)), batch_size=2)
    first = next(loader)
    assert first["data"].shape == (2, 3, 10, 11) and first["softmax_label"].shape == (2, 10, 11)
    assert loader.current == Path("image 1") and loader.provide_data == [("data", (2, 3, 10, 11))]
    with pytest.raises(
        FCNXSError, match=r"image 3: 12x10 pixels, but image 2 .* has 11x10; .*--crop-size.*--acc"
    ):
        next(loader)
    cropped = Loader(loader.samples, batch_size=3, augmentation=AUGMENTATION)
    assert [batch["data"].shape for batch in cropped] == [(3, 3, 12, 12), (1, 3, 12, 12)]


def test_shapes_are_known_before_the_first_batch_which_is_not_lost():
    loader = Loader(Memory(3), batch_size=2)
    assert loader.provide_label == [("softmax_label", (2, 14, 18))] and loader.get_batch_size() == 2
    assert [batch.numbers for batch in loader] == [(0, 1), (2,)]
    assert loader.label.shape == (1, 14, 18)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: expected 1 or more"),
        ({"workers": 0}, "workers=0: expected 1"),
        ({"seed": -1}, "seed=-1: expected 0"),
        ({"cut_off_size": 0}, "cut_off_size=0: expected 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(FCNXSError, match=message):
        Loader(Memory(3), **settings)
    with pytest.raises(FCNXSError, match="images in the data set=0"):
        Loader(Memory(0))
    loader = Loader(Memory(3))
    for epoch, positions in ((0, [3]), (0, [-1]), (-1, None)):
        with pytest.raises(FCNXSError, match="batches go from 0 to 2, epochs from 0"):
            loader.seek(epoch, positions)


def test_labels_of_files_are_named(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "labels" / "a.png")
    with pytest.raises(FCNXSError, match="labels/a.png: a colour image"):
        next(Loader(open_samples(tmp_path)))

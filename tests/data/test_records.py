"""RecordIO: pairs in one file, read back as they were, by MXNet too; damage ends in one line."""

import json
import os
import random
import re
import shutil
import struct
import threading
from pathlib import Path

import fakes
import numpy as np
import pytest
from conftest import LONG, finetune
from fakes import write_pairs

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.data.class_names import read_classes
from fcnxs.data.datasets import named
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.data.records import MAGIC, Records, write_records
from fcnxs.tools.main import main


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    write_pairs(folder / "data", "train", 5)
    (folder / "data" / "classes.txt").write_text("ground\nfigure\n")
    assert main(["pack", str(folder / "data"), str(folder / "out" / "train.rec")]) == 0
    return folder


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed / "out", tmp_path / "copy") / "train.rec"


def test_a_record_has_the_bytes_of_the_files_and_mxnet_reads_it(packed):
    rec = packed / "out" / "train.rec"
    reader = mx.recordio.MXIndexedRecordIO(str(rec.with_suffix(".idx")), str(rec), "r")
    samples = open_samples(rec)
    assert sorted(reader.keys) == [0, 1, 2, 3, 4] and len(samples) == 5
    for key in (3, 0, 4, 1, 2):
        header, content = mx.recordio.unpack(reader.read_idx(key))
        image, rest = content[: header.id], content[header.id :]
        assert image == (packed / f"data/images/train/p{key}.png").read_bytes()
        assert rest[: header.id2] == (packed / f"data/labels/train/p{key}.png").read_bytes()
        assert rest[header.id2 :].decode() == f"images/train/p{key}.png"
        assert samples.records.read(key) == (image, rest[: header.id2])
        _, decoded = mx.recordio.unpack_img(reader.read_idx(key))  # BGR, as OpenCV has it
        np.testing.assert_array_equal(decoded[..., ::-1], samples.read(key)[0])
    assert (packed / "out" / "classes.txt").read_text() == "ground\nfigure\n"


def test_it_is_read_as_the_folder_is(packed):
    rec, folder = open_samples(packed / "out" / "train.rec"), open_samples(packed / "data")
    how = {"shuffle": True, "seed": 5, "batch_size": 2}
    loaders = Loader(rec, **how), Loader(folder, **how)
    for own, theirs in zip(*loaders):
        assert own.numbers == theirs.numbers and own.seed == theirs.seed
        for name in own:
            np.testing.assert_array_equal(own[name], theirs[name])
    part = rec.reading(ignore=[1]).subset([3, 1])
    assert [Path(part.name(i)).name for i in range(2)] == ["p3.png", "p1.png"]
    assert not (part.read(0)[1] == 1).any()
    np.testing.assert_array_equal(part.read(1)[0], folder.read(1)[0])
    assert rec.fingerprint() == open_samples(packed / "out" / "train.rec").fingerprint() != part.fingerprint()


def test_a_record_that_contains_the_magic_number_comes_in_parts(tmp_path):
    """It is cut at each multiple of four bytes that has it, in the image, in the label and in the name."""
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(40):
        image, label = (rng.integers(0, 256, rng.integers(1, 60), np.uint8).tobytes() for _ in range(2))
        image = image[: len(image) // 4 * 4] + MAGIC * (i % 3) + image
        pairs.append((f"n{i}", image, MAGIC + label if i % 2 else label))
    write_records(tmp_path / "a.rec", tmp_path / "a.idx", ((*pair, {}) for pair in pairs), lambda: None)
    records = Records(tmp_path / "a.rec")
    assert [(records.names[i], *records.read(i)) for i in range(40)] == pairs
    assert sum(len(record.parts) > 1 for record in records._records) > 20


def test_threads_share_a_file(packed):
    records = Records(packed / "out" / "train.rec")
    expected, wrong = [records.read(i) for i in range(5)], []

    def read(seed):
        for number in random.Random(seed).choices(range(5), k=200):
            if records.read(number) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["ade20k", "citys", "voc_aug"])
def test_labels_that_are_no_class_numbers_are_packed_as_such(name, tmp_path):
    """Those of ADE20K are one too large, those of Cityscapes other numbers, and those of SBD MATLAB's."""
    getattr(fakes, name)(tmp_path / "data")
    rec = tmp_path / "all.rec"
    assert main(["pack", name, str(rec), "--root", str(tmp_path / "data")]) == 0
    expected, samples = named(name, tmp_path / "data"), open_samples(rec)
    assert len(samples) == len(expected) > 0
    for i in range(len(samples)):
        for own, theirs in zip(samples.read(i), expected.read(i)):
            np.testing.assert_array_equal(own, theirs)
        assert samples.records.read(i)[0] == expected.images[i].read_bytes()
    assert read_classes(tmp_path / "classes.txt") == expected.classes


def test_commands_take_it(packed, capsys):
    rec = str(packed / "out" / "train.rec")
    assert main(["check-data", rec]) == 0
    own = capsys.readouterr().out
    assert "class names from" in own and "5 images" in own
    assert main(["check-data", str(packed / "data"), "--split", "train"]) == 0
    theirs = capsys.readouterr().out
    fingerprints = [re.search(r"fingerprint of the pixels (\w+)", text)[1] for text in (own, theirs)]
    assert fingerprints[0] == fingerprints[1]


def test_training_and_evaluation_are_those_of_the_folder(run_folder, voc, tmp_path, capsys):
    for split in ("train", "val"):
        assert main(["pack", str(voc), str(tmp_path / f"{split}.rec"), "--split", split]) == 0
    stage = ("--stages", "fcn32s", "--epochs", "1", "--crop-size", "64", "--seed", "2")
    arguments = finetune(voc, run_folder, *stage, "--val-split", "val")
    assert main([*arguments, "--output", str(tmp_path / "folder")]) == 0
    arguments[arguments.index("--data") + 1] = str(tmp_path / "train.rec")
    at = arguments.index("--val-split")
    arguments[at : at + 2] = ["--val", str(tmp_path / "val.rec")]
    assert main([*arguments, "--output", str(tmp_path / "rec")]) == 0
    records = [json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("folder", "rec")]
    assert [records[0].pop("seconds"), records[1].pop("seconds")] and records[0] == records[1]
    scores = []
    for data in ([str(voc), "--split", "val"], [str(tmp_path / "val.rec")]):
        evaluate = ["evaluate", "--prefix", str(tmp_path / "rec" / "fcn32s"), "--data", *data]
        assert main([*evaluate, "--json", str(tmp_path / "scores.json"), "--overwrite"]) == 0
        scores.append(json.loads((tmp_path / "scores.json").read_text())["per_class"])
    assert scores[0] == scores[1]
    assert main(["report", str(tmp_path / "rec")]) == 0
    assert "is gone" not in capsys.readouterr().out


def refusal(rec):
    with pytest.raises(FCNXSError) as caught:
        open_samples(rec)
    assert "\n" not in str(caught.value) and str(rec.with_suffix("")) in str(caught.value)
    return str(caught.value)


def test_what_is_cut_off_is_refused_at_once(copy):
    whole, index = copy.read_bytes(), copy.with_suffix(".idx").read_text()
    for kept in (0, 3, 8, 40, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        copy.write_bytes(whole[:kept])
        assert "damaged: it is cut off" in refusal(copy)
    copy.write_bytes(whole + b"\0\0\0\0")
    assert "train.idx names no record for bytes" in refusal(copy)
    copy.write_bytes(whole)
    lines = index.splitlines(keepends=True)
    for kept, said in (
        ("", "train.idx: is empty"),
        (index[:-2], "there is no record at byte|names no record for bytes|cut off"),
        ("".join(lines[:-1]), "names no record for bytes"),
        ("".join(lines[1:]), "names no record for bytes 0 to"),
        (index[: index.rindex("\t")], "line 5: is not NUMBER <tab> BYTE"),
        (index + lines[0], "line 6: names record 0 again"),
        (index + "9\t0\n", "names one place twice"),
        (index + "9\t99999999999999999\n", "cut off|names no record"),
        (index.replace("0\t0", "0\t-4"), "line 1: is not NUMBER"),
    ):
        copy.with_suffix(".idx").write_text(kept)
        assert re.search(said, refusal(copy)), (kept, refusal(copy))
    copy.with_suffix(".idx").unlink()
    assert "train.idx: cannot read this index" in refusal(copy)


def test_damage_never_ends_otherwise_than_in_a_line(copy):
    """Random bytes change anywhere; what is read is an image as before, or a line says what is wrong."""
    files = {file: file.read_bytes() for file in (copy, copy.with_suffix(".idx"))}
    rng = np.random.default_rng(0)
    for number in range(3000 if LONG else 150):
        file, content = [*files.items()][number % 2]
        damaged = bytearray(content)
        places = rng.integers(0, min(len(damaged), 60 if rng.random() < 0.5 else len(damaged)), 3)
        for place in places:
            damaged[place] = rng.integers(0, 256)
        file.write_bytes(damaged)
        try:
            samples = open_samples(copy)
            for i in range(len(samples)):
                samples.load(i)
        except FCNXSError as error:
            assert "\n" not in str(error)
        file.write_bytes(content)


def test_records_of_others_are_refused(tmp_path):
    def written(*items):
        writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
        for key, item in enumerate(items):
            writer.write_idx(key, item)
        writer.close()
        return tmp_path / "a.rec"

    im2rec = mx.recordio.pack(mx.recordio.IRHeader(0, 3.0, 17, 0), b"\xff\xd8")
    assert "has no image, label and name" in refusal(written(im2rec))
    assert "cut off|too short" and "short" in refusal(written(b"abc"))
    huge = struct.pack("<IfQQ", 0, 0, 1 << 63, 1 << 63) + b"abc"
    assert "has no image, label and name" in refusal(written(huge))
    for name in (b"../a.png", b"a\0b", b"/../../etc/passwd"):
        item = mx.recordio.pack(mx.recordio.IRHeader(0, 0, 1, 1), b"xy" + name)
        assert "is no name of an image" in refusal(written(item))
    os.mkfifo(tmp_path / "pipe.rec")
    assert "is a pipe" in refusal(tmp_path / "pipe.rec")


def test_pack_replaces_only_what_it_wrote(packed, copy, capsys):
    data = str(packed / "data")
    assert main(["pack", data, str(copy)]) == 0  # again
    copy.with_suffix(".idx").write_text("mine")
    before = copy.read_bytes()
    assert main(["pack", data, str(copy)]) == 2
    assert "is there already, and this command did not write it so" in capsys.readouterr().err
    assert main(["pack", data, str(copy), "--overwrite"]) == 0 and copy.read_bytes() == before
    assert main(["pack", str(copy), str(copy)]) == 2
    assert main(["pack", str(copy), str(copy.with_name("again.rec"))]) == 0
    assert copy.with_name("again.rec").read_bytes() == before
    assert main(["pack", data, str(copy.with_name("out.bin"))]) == 2
    assert "out.bin: give a name that ends in .rec" in capsys.readouterr().err
    (copy.with_name("classes.txt")).write_text("a\nb\n")
    assert main(["pack", data, str(copy)]) == 2
    assert "classes.txt: names other classes than this data set" in capsys.readouterr().err
    assert main(["check-data", str(copy), "--split", "val"]) == 2
    assert main(["check-data", str(copy.with_name("none.rec"))]) == 2
    assert "no such folder or list" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_may_have_such_a_name(tmp_path):
    write_pairs(tmp_path / "a.rec", "train", 2)
    assert len(open_samples(tmp_path / "a.rec")) == 2
    shutil.copytree(tmp_path / "a.rec" / "images", tmp_path / "b.rec" / "JPEGImages")
    shutil.copytree(tmp_path / "a.rec" / "labels" / "train", tmp_path / "b.rec" / "SegmentationClass")
    (tmp_path / "b.rec" / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "b.rec" / "ImageSets" / "Segmentation" / "train.txt").write_text("train/p0\n")
    with pytest.raises(FCNXSError, match="SegmentationClass/train"):
        open_samples(tmp_path / "b.rec")


def test_a_bad_image_in_it_is_named(packed, tmp_path, capsys):
    shutil.copytree(packed / "data", tmp_path / "data")
    (tmp_path / "data/images/train/p2.png").write_bytes(b"nothing")
    assert main(["pack", str(tmp_path / "data"), str(tmp_path / "a.rec")]) == 0
    assert main(["check-data", str(tmp_path / "a.rec")]) == 1
    assert f"{tmp_path}/a.rec/images/train/p2.png: not an image" in capsys.readouterr().out


@pytest.mark.skipif(not LONG, reason="ten thousand pairs; FCNXS_LONG=1")
def test_ten_thousand_pairs_come_shuffled_from_one_file(tmp_path):
    write_pairs(tmp_path / "data", "train", 10_000, size=(4, 5))
    assert main(["pack", str(tmp_path / "data"), str(tmp_path / "all.rec")]) == 0
    shutil.rmtree(tmp_path / "data" / "labels")
    loader = Loader(open_samples(tmp_path / "all.rec"), shuffle=True, batch_size=10)
    numbers = [number for batch in loader for number in batch.numbers]
    assert sorted(numbers) == [*range(10_000)] != numbers
    assert len(os.listdir(tmp_path)) == 3

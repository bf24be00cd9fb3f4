"""A row for each reader: what it is given, and the call that reads it. Both get a folder of their own."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from fcnxs import Segmenter, checkpoint
from fcnxs.checkpoint.params_file import load_params
from fcnxs.convert.caffe_input import read_mean
from fcnxs.convert.conversion import read
from fcnxs.data.class_names import read_classes
from fcnxs.data.lists import read_list
from fcnxs.deploy.mar import write_mar
from fcnxs.epoch_choice import choose

from . import formats, mutations
from .material import command, stopping


class Refused(Exception):
    """A command has refused its input: exit code and line."""


def _command(*words):
    code, told = command(*words)
    lines = [line for line in told.splitlines() if "fcnxs: warning: " not in line]
    if code in (0, 143):
        return
    raise Refused(f"exit code {code}: " + "\n".join(lines))


def _copy(name):
    return lambda material, folder: shutil.copytree(material / name, folder / name)


def _json(name, seal=False, deletions=0.15):
    """Change a JSON file of a folder that is copied."""

    def attack(material, folder, rng):
        _copy(name.partition("/")[0])(material, folder)
        file = sorted(folder.glob(name))[-1]
        content = json.loads(file.read_text())
        content.pop("sha256", None)
        content = mutations.other_json(content, rng, deletions)
        file.write_text(mutations.sealed(content) if seal else mutations.text_of(content))

    return attack


def _arrays(material, folder, rng):
    """The arrays of a state, with the checksum in its JSON."""
    _copy("stopped")(material, folder)
    file = sorted((folder / "stopped").glob("*.state"))[-1]
    arrays = {name: array.asnumpy() for name, array in load_params(file).items()}
    kind = rng.random()
    if kind < 0.2:
        arrays.pop(rng.choice([*arrays]))
    elif kind < 0.4:
        name = rng.choice([*arrays])
        arrays[rng.choice(("x", "arg:more", "state:more:0", "foo:bar", "state:", ":", "aux:m"))] = arrays.pop(
            name
        )
    elif kind < 0.6:
        name = rng.choice([*arrays])
        arrays[name] = rng.choice(
            (arrays[name][..., None], arrays[name].ravel(), arrays[name][:1], np.zeros((1, 1)))
        )
    file.write_bytes(formats.params(arrays, rng if kind > 0.6 else None))
    json_file = file.with_suffix(".json")
    content = json.loads(json_file.read_text())
    del content["sha256"]
    content["arrays_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    json_file.write_text(mutations.sealed(content))


def _resume(folder):
    with stopping(1):
        _command("finetune", "--resume", folder / "stopped")


def _bytes(name):
    def attack(material, folder, rng):
        (folder / name).write_bytes(mutations.other_bytes((material / name).read_bytes(), rng))

    return attack


def _safetensors(material, folder, rng):
    content = (material / "vgg.safetensors").read_bytes()
    (folder / "vgg.safetensors").write_bytes(formats.other_safetensors(content, rng))


def _text(name):
    def attack(material, folder, rng):
        (folder / "voc").symlink_to(material / "voc")
        (folder / Path(name).name).write_bytes(mutations.other_text((material / name).read_text(), rng))

    return attack


def _prototxt(material, folder, rng):
    (folder / "fcn.prototxt").write_text(formats.other_prototxt((material / "fcn.prototxt").read_text(), rng))
    shutil.copy(material / "fcn.caffemodel", folder)


def _params(name, prefix=""):
    def attack(material, folder, rng):
        file = sorted(material.glob(name))[-1]
        _copy("net")(material, folder)
        arrays = {key: array.asnumpy() for key, array in load_params(file).items()}
        (folder / "net" / file.name).write_bytes(formats.params(arrays, rng))
        (folder / "net/fcn32s-meta.json").unlink()

    return attack


def _records(material, folder, rng):
    _copy("ended")(material, folder)
    file = folder / "ended/metrics.jsonl"
    lines = file.read_text().splitlines()
    at = rng.randrange(len(lines))
    lines[at] = mutations.text_of(mutations.other_json(json.loads(lines[at]), rng))
    file.write_text("\n".join(lines) + "\n")


def _log(material, folder, rng):
    _copy("ended")(material, folder)
    file = folder / "ended/run.log"
    file.write_bytes(mutations.other_text(file.read_text(), rng))


def _report(folder):
    _command("report", folder / "ended")


def _segment(folder):
    Segmenter(folder / "net/fcn32s", 1)(np.zeros((40, 50, 3), np.uint8))


def _archive(folder):
    (folder / "net/fcn32s-0001.params").rename(folder / "net/fcn32s-0000.params")
    write_mar(folder / "net/fcn32s", folder / "net.mar")


def _demo(material, folder, rng):
    (folder / "demo").mkdir()
    record = {"train": 220, "val": 30, "epochs": [2, 2, 3], "done": 9, "seconds": 3.5, "version": "1"}
    (folder / "demo/demo.json").write_text(mutations.text_of(mutations.other_json(record, rng)))


READERS = {
    "run.json, resumed": (_json("stopped/run.json", True), _resume),
    "run.json, reported": (_json("ended/run.json", True), _report),
    "state, JSON": (_json("stopped/*-last.*.json", True), _resume),
    "state, arrays": (_arrays, _resume),
    "metrics.jsonl": (_records, _report),
    "metrics.jsonl, best epoch": (_records, lambda folder: choose(folder / "ended/fcn32s")),
    "summary.json": (
        _json("ended/summary.json"),
        lambda folder: _command("finetune", "--resume", folder / "ended"),
    ),
    "run.log": (_log, _report),
    "meta, segmenting": (_json("net/fcn32s-meta.json"), _segment),
    "meta, archived": (_json("net/fcn32s-meta.json"), _archive),
    "params": (_params("net/fcn32s-0001.params"), _segment),
    "params, mapped": (
        _params("net/fcn32s-0001.params"),
        lambda folder: checkpoint.load(folder / "net/fcn32s", 1, mapped=True),
    ),
    "Gluon's params": (_params("gluon.params"), lambda folder: read(folder / "net/gluon.params")),
    "safetensors": (_safetensors, lambda folder: read(folder / "vgg.safetensors")),
    "caffemodel": (_bytes("fcn.caffemodel"), lambda folder: read(folder / "fcn.caffemodel")),
    "binaryproto": (_bytes("mean.binaryproto"), lambda folder: read_mean(folder / "mean.binaryproto")),
    "prototxt": (_prototxt, lambda folder: read(folder / "fcn.caffemodel", prototxt=folder / "fcn.prototxt")),
    "classes.txt": (_text("voc/classes.txt"), lambda folder: read_classes(folder / "classes.txt")),
    "list": (_text("list.lst"), lambda folder: read_list(folder, "list.lst")),
    "VOC's list": (
        _text("voc/ImageSets/Segmentation/train.txt"),
        lambda folder: read_list(folder / "voc", folder / "train.txt"),
    ),
    "demo.json": (_demo, lambda folder: _command("demo", "--output", folder / "demo")),
}

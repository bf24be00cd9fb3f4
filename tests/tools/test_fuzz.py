"""Mutated and truncated caffemodels: an error that names the file, or a net whose every parameter is sound.

    FCNXS_FUZZ=10000 pytest -s tests/tools/test_fuzz.py

A change of a number, or of a layer that is dropped, leaves a caffemodel that is as good as before: the
format has no checksum. Everything else has to be an error.
"""

import contextlib
import os
import re
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import random_vgg16
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcnxs import FCNXSError
from fcnxs.checkpoint.params_file import load_params
from fcnxs.compat import mxnet as mx
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.tools.benchmarks.parity import random_blobs

FILES = int(os.environ.get("FCNXS_FUZZ", "400"))
MEMORY = 256 << 20  # that reading a file of 30 kB may take

SMALL = {"width": 1 / 64, "fc": 2}
VGG16 = {**random_vgg16(0, classes=2, **SMALL)}
SEEDS = {
    "vgg16 V1": (VGG16, True),
    "vgg16": (VGG16, False),
    "fcn8s_atonce": (random_blobs("fcn8s_atonce", numclass=2, **SMALL), False),
    "fcn16s": (random_blobs("fcn16s", numclass=2, **SMALL), False),
    "fcn_alexnet": (random_blobs("fcn_alexnet", width=1 / 16, fc=2, numclass=2), True),
}

# What takes the place of some bytes: single ones, and numbers in protobuf's variable length.
NUMBERS = [0, 1, 2, 127, 128, 2**14, 2**21, 2**31 - 1, 2**32, 2**40, 2**63, 2**64 - 1]


def varint(number: int) -> bytes:
    rest = []
    while number > 127:
        rest.append(number & 127 | 128)
        number >>= 7
    return bytes([*rest, number])


BYTES = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([varint(number) for number in NUMBERS]))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Contents of the seeds, and where in each the bytes lie that are not values of blobs."""
    folder, contents = tmp_path_factory.mktemp("corpus"), {}
    for name, (blobs, v1) in SEEDS.items():
        write_caffemodel(folder / "seed", blobs, v1)
        content = (folder / "seed").read_bytes()
        structure = np.ones(len(content), bool)
        for arrays in blobs.values():
            for array in arrays:
                start = content.find(array.astype("<f4").tobytes())
                structure[start : start + array.nbytes] = False
        contents[name] = (content, np.flatnonzero(structure).tolist())
        assert read(folder / "seed").fates and 0 < structure.sum() < 0.2 * len(content)
    return contents


@st.composite
def mutations(draw):
    """Seed, and changes of it: kind, whether of the structure, place (0 to 1), length, new bytes."""
    change = st.tuples(
        st.sampled_from(["replace", "replace", "replace", "insert", "delete", "repeat", "cut"]),
        st.sampled_from([True, True, True, False]),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([1, 1, 2, 8, 100, 3000]),
        BYTES,
    )
    return draw(st.sampled_from(list(SEEDS))), draw(st.lists(change, min_size=1, max_size=3))


def mutated(content: bytes, structure: list, changes: list) -> bytes:
    for kind, of_structure, place, length, new in changes:
        at = structure[int(place * len(structure))] if of_structure else int(place * len(content))
        old = content[at : at + length]
        if kind == "cut":
            content = content[:at]
        else:
            put = {"replace": new, "insert": new + old, "delete": b"", "repeat": old + old}[kind]
            skipped = len(new) if kind == "replace" else length
            content = content[:at] + put + content[at + skipped :]
    return content


@contextlib.contextmanager
def memory_bounded():
    """Let the process grow by no more than MEMORY."""
    size = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_hostile_caffemodels(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # large to load, for files that begin as PyTorch's do
    net_of_seed = {name: "vgg16fc" if "vgg16" in name else name for name in SEEDS}
    file, seen, slowest = tmp_path / "hostile.caffemodel", Counter(), 0.0

    @settings(
        max_examples=FILES, deadline=None, database=None, derandomize=True, suppress_health_check=HealthCheck
    )
    @given(mutations())
    def check(mutation):
        nonlocal slowest
        seed, changes = mutation
        content = mutated(*corpus[seed], changes)
        file.write_bytes(content)
        began = time.process_time()
        try:
            with memory_bounded():
                converted = read(file)
        except FCNXSError as error:
            text = str(error)
            assert text.startswith(f"{file}: ") and len(text.splitlines()) == 1 and len(text) < 1000, error
            seen["an error"] += 1
        else:
            check_sound(converted)
            assert converted.net == net_of_seed[seed], mutation
            seen["unchanged" if content == corpus[seed][0] else "a sound net"] += 1
        slowest = max(slowest, time.process_time() - began)

    check()
    assert sum(seen.values()) >= FILES and seen["an error"] > 0.5 * FILES and slowest < 10
    print(f"\n{sum(seen.values())} files: {dict(seen)}; the slowest took {slowest:.2f} s; each within "
          f"{MEMORY >> 20} MB of memory")  # fmt: skip


def check_sound(converted):
    """A net that was accepted is whole: each parameter in its shape, and finite."""
    shapes = converted.symbol.infer_shape(data=(1, 3, 64, 64))[0]
    for name, shape in zip(converted.symbol.list_arguments(), shapes):
        if name not in ("data", "softmax_label"):
            array = converted.arg_params[name].asnumpy()
            assert array.shape == shape and np.isfinite(array).all(), name


@pytest.mark.parametrize("seed", SEEDS)
def test_truncations_in_the_structure_are_errors(seed, corpus, tmp_path):
    """Cut where a number is: an error. Only where a layer ends that no net needs can a file end."""
    content, structure = corpus[seed]
    file = tmp_path / "cut.caffemodel"
    accepted = []
    for at in structure[:: max(1, len(structure) * len(SEEDS) // FILES)]:
        file.write_bytes(content[:at])
        try:
            check_sound(read(file))
            accepted.append(at)
        except FCNXSError:
            pass
    # Before the scores, a whole VGG-16 has been read.
    ends = [content.find(name) for name in (b"fc8", b"score_fr") if name in content and seed != "fcn_alexnet"]
    assert len(accepted) <= len(ends) and all(0 < end - at < 10 for at in accepted for end in ends), accepted


def test_damaged_files_of_mxnet_s_are_errors(tmp_path):
    """Whatever four bytes of the headers become; `mx.nd.load` alone ends the process at some of them."""
    arrays = {f"arg:conv{i}_weight": mx.nd.ones((2, 3, 3, 3)) for i in range(3)}
    mx.nd.save(str(tmp_path / "net.params"), arrays)
    content, file = (tmp_path / "net.params").read_bytes(), tmp_path / "hostile.params"
    assert load_params(tmp_path / "net.params").keys() == arrays.keys()
    values = content.find(mx.nd.ones((2, 3, 3, 3)).asnumpy().tobytes())
    seen = Counter()
    for at in [*range(values), *range(len(content) - 80, len(content) - 3)]:
        for new in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\0\0\0", b"\xff\xff\xff\x7f"):
            file.write_bytes(content[:at] + new + content[at + 4 :])
            try:
                with memory_bounded():
                    load_params(file)
                seen["read"] += 1
            except FCNXSError as error:
                assert str(error).startswith(f"{file}: ") and len(str(error)) < 300
                seen["an error"] += 1
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(FCNXSError):
            load_params(file)
    assert seen["an error"] > seen["read"]

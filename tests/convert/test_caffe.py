import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import random_vgg16

from fcnxs import FCNXSError
from fcnxs.convert.caffemodel import _MESSAGES, iterate_layers, write_caffemodel
from fcnxs.convert.conversion import read


@pytest.mark.parametrize("v1", [False, True])
def test_what_is_written_is_read(v1, tmp_path):
    blobs = random_vgg16(3)
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1)
    layers = dict(iterate_layers(tmp_path / "net.caffemodel"))
    assert list(layers) == list(blobs)
    for name, arrays in blobs.items():
        for given, array in zip(layers[name], arrays):
            assert given.shape == ((1, 1, 1, 1, *array.shape)[-4:] if v1 else array.shape)
            np.testing.assert_array_equal(given.reshape(array.shape), array)


def test_a_file_cut_off_anywhere_is_refused(caffemodel, tmp_path):
    content, file = caffemodel.read_bytes(), tmp_path / "cut.caffemodel"
    for length in [0, 1, 2, 5, 100, *np.random.default_rng(0).integers(0, len(content), 60)]:
        file.write_bytes(content[:length])
        with pytest.raises(FCNXSError, match="cut.caffemodel"):
            read(file)


@pytest.mark.parametrize(
    "content",
    [
        *(b"not a caffemodel", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(50), b"{}" * 99),
        b"\x0a" + b"\xff" * 20,  # a length that does not end
    ],
)
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(FCNXSError, match="other: (not a caffemodel|neither VGG-16 nor)"):
        read(tmp_path / "other")
    with pytest.raises(FCNXSError, match="nix: cannot read these weights: No such file"):
        read(tmp_path / "nix")
    with pytest.raises(FCNXSError, match="is a folder, not a file"):
        read(tmp_path)


def test_a_declared_size_is_not_believed(tmp_path):
    """A layer that says it has 2**60 bytes, and a blob that says it has 2**40 values."""
    file = tmp_path / "bomb"
    file.write_bytes(b"\xa2\x06" + b"\x80" * 8 + b"\x10" + bytes(50))
    tracemalloc.start()
    with pytest.raises(FCNXSError, match="bomb: not a caffemodel, nor .*, or cut off"):
        read(file)
    net = _MESSAGES["NetParameter"]()
    blob = net.layer.add(name="conv1_1").blobs.add(data=[bytes(4)])
    blob.shape.dim.extend([2**40])
    file.write_bytes(net.SerializeToString())
    with pytest.raises(FCNXSError, match=r"'conv1_1' declares shape \(1099511627776,\), but holds 4 bytes"):
        read(file)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_many_dimensions_and_long_names_end_in_a_short_line(tmp_path):
    """A product of a million factors, and its text, would take hours."""
    net, file = _MESSAGES["NetParameter"](), tmp_path / "many"
    blob = net.layer.add(name="x" * 10**6).blobs.add(data=[bytes(4)])
    blob.shape.dim.extend([127] * 10**6)
    file.write_bytes(net.SerializeToString())
    with pytest.raises(FCNXSError, match="declares 1000000 dimensions") as caught:
        read(file)
    assert len(str(caught.value)) < len(str(file)) + 300


def test_layers_are_read_one_at_a_time(caffemodel: Path):
    layers = iterate_layers(caffemodel)
    name, arrays = next(layers)
    assert name == "conv1_1" and [array.shape for array in arrays] == [(4, 3, 3, 3), (4,)]
    layers.close()

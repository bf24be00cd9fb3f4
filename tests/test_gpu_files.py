"""What was saved on a GPU is read on a machine that has not this GPU, and what is saved names no GPU.

`gpus` stands for gpu(0) and gpu(1): MXNet's own readers fail at a file of gpu(55).
"""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from serving import save_exported
from stand_in.stand_in_gpus import devices_in

import fcnxs
from fcnxs import checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.convert.arrays import GLUON
from fcnxs.convert.conversion import read
from fcnxs.deploy.handler import ServedNet
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.benchmarks.parity import _names, random_blobs

ROOT = Path(__file__).parents[1]


def as_saved_on(file, gpu):
    """Change a file of parameters to what MXNet would have written of arrays on this GPU."""
    content = bytearray(Path(file).read_bytes())
    for offset, _ in devices_in(bytes(content)):
        content[offset : offset + 8] = struct.pack("<ii", 2, gpu)
    Path(file).write_bytes(content)


@pytest.fixture
def net(tmp_path):
    """Prefix of a checkpoint, saved on gpu(55), without a meta file, which would hold its checksum."""
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    checkpoint.save(tmp_path / "fcn8s", 0, symbol, random_params(symbol, 8), {}, checkpoint.Meta())
    (tmp_path / "fcn8s-meta.json").unlink()
    as_saved_on(tmp_path / "fcn8s-0000.params", 55)
    return tmp_path / "fcn8s"


def block_of(prefix, ctx):
    block = gluon.get_fcn8s(3, width=WIDTH, fc=FC, ctx=ctx)
    block.load_parameters(f"{prefix}-0000.params", ctx)
    return block


READERS = {
    "checkpoint.load": lambda prefix, ctx: checkpoint.load(prefix, 0, ctx).arg_params,
    "Segmenter": lambda prefix, ctx: fcnxs.Segmenter(prefix, 0, ctx=ctx)._net.passes.net.arg_params,
    "get_fcn8s": lambda prefix, ctx: gluon.get_fcn8s(prefix=prefix, epoch=0, ctx=ctx).collect_params(),
    "FCNxs.load_parameters": lambda prefix, ctx: block_of(prefix, ctx).collect_params(),
    "FCNxs.imports": lambda prefix, ctx: gluon.FCNxs.imports(
        f"{prefix}-symbol.json", ["data", "softmax_label"], f"{prefix}-0000.params", ctx
    ).collect_params(),
}


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_puts_parameters_where_it_is_asked_to(reader, device, net, gpus):
    with pytest.raises(mx.MXNetError, match="invalid device ordinal"):
        mx.nd.load(f"{net}-0000.params")
    ctx = mx.Context(device, 0)
    arrays = READERS[reader](net, ctx)
    arrays = {name: arrays[name] for name in ("conv1_1_weight", "score_bias")}
    for array in (getattr(each, "list_data", lambda each=each: [each])()[0] for each in arrays.values()):
        assert array.context == ctx and np.abs(array.asnumpy()).sum() > 0


def test_the_handler_serves_what_a_gpu_saved(net, gpus, tmp_path):
    source = checkpoint.load(net, 0)
    source.meta = checkpoint.Meta(None, [[0, 0, 0]] * 256)
    (tmp_path / "served").mkdir()
    prefix = save_exported(source, tmp_path / "served" / "net")
    as_saved_on(f"{prefix}-0000.params", 55)
    expected = fcnxs.Segmenter(source)(photo())
    np.testing.assert_array_equal(ServedNet(tmp_path / "served").class_map(photo()), expected)


def test_weights_of_gluon_that_a_gpu_saved_are_converted(gpus, tmp_path):
    file = str(tmp_path / "vgg.params")
    blobs = random_blobs("vgg16", WIDTH, FC, 7, 0)
    arrays = [mx.nd.array(array, mx.gpu(1)) for layer in blobs.values() for array in layer]
    mx.nd.save(file, dict(zip(_names(GLUON), arrays)))
    as_saved_on(file, 55)
    weight = read(file).arg_params["conv5_3_weight"]
    assert weight.context == mx.cpu(0)
    np.testing.assert_array_equal(weight.asnumpy(), blobs["conv5_3"][0])


def test_a_block_on_gpus_saves_arrays_of_the_cpu(net, gpus, tmp_path):
    block = gluon.get_fcn8s(prefix=net, epoch=0, ctx=[mx.gpu(0), mx.gpu(1)])
    block.save_parameters(str(tmp_path / "block.params"))
    block.save_checkpoint(tmp_path / "again", 1)
    for file in ("block.params", "again-0001.params"):
        assert {device for _, device in devices_in((tmp_path / file).read_bytes())} == {(1, 0)}


def test_nothing_else_reads_or_saves_arrays():
    """Other files would have the device of the machine that wrote them."""
    calls = re.compile(r"nd\.(?:load|save)\w*\(|load_params\(prefix|load_checkpoint\(|\.load_parameters\(file")
    files = [file for room in ("fcnxs", "symbols", "tools") for file in (ROOT / room).rglob("*.py")]
    assert {str(each.relative_to(ROOT)) for each in files if re.search(calls, each.read_text())} == {
        "fcnxs/checkpoint/params_file.py",
        "fcnxs/deploy/plain_net.py",  # an export that was just written, for the CPU
        "fcnxs/convert/verify.py",  # a file that it has just written, for the CPU
        "tools/benchmarks/parity.py",
        "tools/benchmarks/gpu/runs.py",  # which checks what plain MXNet makes of an export
    }

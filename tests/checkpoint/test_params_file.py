"""Files of parameters whose headers lie, made by hand: one line, before MXNet or NumPy sees them."""

import struct

import numpy as np
import pytest
from stand_in.stand_in_gpus import devices_in

from fcnxs import FCNXSError
from fcnxs.checkpoint.params_file import BFLOAT16, load_params, write_arrays
from fcnxs.compat import mxnet as mx

KINDS = ["float32", "float64", "float16", "uint8", "int8", "int32", "int64", "bool", BFLOAT16]


def entry(shape, values=b"\0" * 24, kind=0, storage=0):
    """An array as MXNet's version 2 writes it: storage, shape, device, type, values."""
    head = struct.pack("<IiI", 0xF993FAC9, storage, len(shape)) + struct.pack(f"<{len(shape)}q", *shape)
    return head + struct.pack("<iii", 1, 0, kind) + values


def file_of(entries, names):
    named = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return (
        struct.pack("<QQQ", 0x112, 0, len(entries)) + b"".join(entries) + struct.pack("<Q", len(names)) + named
    )


SOUND = entry((2, 3), np.arange(6, dtype="<f4").tobytes())


def test_a_file_by_hand_is_read(tmp_path):
    (tmp_path / "a.params").write_bytes(file_of([SOUND, entry((6,))], [b"arg:a", b"arg:b"]))
    for mapped in (False, True):
        arrays = load_params(tmp_path / "a.params", mapped)
        np.testing.assert_array_equal(arrays["arg:a"].asnumpy(), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file_of([entry((0, 2**62), b"")], [b"a"]), r"an array is of type 0 and shape \[0, 46116860184"),
        (file_of([entry((0,), b"")], [b"a"]), r"shape \[0\], by its header"),
        (file_of([entry((2**62, 2**62))], [b"a"]), "it is cut off"),
        (file_of([entry((-2, -3))], [b"a"]), r"shape \[-2, -3\], by its header"),
        (file_of([entry((6,), kind=99)], [b"a"]), "an array is of type 99"),
        (file_of([entry((6,), storage=1)], [b"a"]), "an array is sparse"),
        (file_of([SOUND, SOUND], [b"a", b"a"]), "its 2 arrays have 1 different names"),
        (file_of([SOUND, SOUND], [b"a"]), "its 2 arrays have 1 different names"),
        (file_of([SOUND], [b"a\xff"]), r"the name a\\\\xff of an array is not text in UTF-8"),
        (file_of([SOUND], [b"arg:a\0b"]), r"the name arg:a\\x00b of an array is not text"),
        (file_of([SOUND], [])[:-8] + struct.pack("<Q", 2**60), "it is cut off"),
        (struct.pack("<QQQ", 0x112, 0, 2**60), "it is cut off"),
    ],
)
def test_headers_that_lie(content, message, mapped, tmp_path):
    (tmp_path / "a.params").write_bytes(content)
    with pytest.raises(FCNXSError, match=f"a.params: not a file of MXNet parameters, or damaged: .*{message}"):
        load_params(tmp_path / "a.params", mapped)


def test_what_is_written_is_of_the_cpu_whatever_the_device(gpus, tmp_path):
    devices = [mx.gpu(0), mx.gpu(1), mx.cpu(0), mx.cpu(3)]
    arrays = {str(ctx): mx.nd.array([[1, 2]], ctx).astype("float16") for ctx in devices}
    write_arrays(tmp_path / "a.params", arrays)
    found = list(devices_in((tmp_path / "a.params").read_bytes()))
    assert [device for _, device in found] == [(1, 0)] * 4
    assert {
        name: array.asnumpy().tolist() for name, array in mx.nd.load(str(tmp_path / "a.params")).items()
    } == {name: [[1, 2]] for name in arrays}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("magic", [0xF993FAC9, 0xF993FAC8, 2], ids=["2", "1", "oldest"])
def test_what_a_gpu_saved_is_read_without_it(magic, mapped, gpus, tmp_path):
    """By MXNet itself too, but only on a machine with this GPU."""
    number = "q" if magic > 2 else "I"
    head = struct.pack("<I", magic) + b"\0" * 4 * (magic == 0xF993FAC9) + struct.pack("<I", 2) * (magic > 2)
    shape, values = struct.pack(f"<2{number}", 2, 3), np.arange(6, dtype="<f4").tobytes()
    for gpu in (0, 55):
        content = file_of([head + shape + struct.pack("<iii", 2, gpu, 0) + values], [b"arg:a"])
        (tmp_path / "a.params").write_bytes(content)
        array = load_params(tmp_path / "a.params", mapped)["arg:a"]
        assert array.context == mx.cpu(0)
        np.testing.assert_array_equal(array.asnumpy(), np.arange(6).reshape(2, 3))
        if gpu == 0:
            assert mx.nd.load(str(tmp_path / "a.params"))["arg:a"].context == mx.gpu(0)
        else:
            with pytest.raises(mx.MXNetError):
                mx.nd.load(str(tmp_path / "a.params"))


@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_of_every_type_come_back_from_a_gpu_s_file(mapped, gpus, tmp_path):
    arrays = {str(kind): mx.nd.array([[0, 1], [1, 0]], mx.gpu(1)).astype(kind) for kind in KINDS[:-1]}
    arrays["bfloat16"] = mx.nd.amp_cast(mx.nd.array([[0, 1], [1, 0]], mx.gpu(1)), dtype=BFLOAT16)
    mx.nd.save(str(tmp_path / "a.params"), arrays)
    found = load_params(tmp_path / "a.params", mapped)
    assert {array.context for array in found.values()} == {mx.cpu(0)}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name].asnumpy(), array.asnumpy(), err_msg=name)

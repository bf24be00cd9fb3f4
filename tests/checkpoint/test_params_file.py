"""Files of parameters whose headers lie, made by hand: one line, before MXNet or NumPy sees them."""

import struct

import numpy as np
import pytest

from fcnxs import FCNXSError
from fcnxs.checkpoint.params_file import load_params


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

"""Changes of files of weights and of nets, which leave them files of their format."""

import json
import re
import struct
from math import prod

from .mutations import other_bytes, other_json, text_of

# Bits of the types of safetensors; C128 and X are none of them.
BITS = dict.fromkeys(["F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "I8", "U8", "BOOL", "X"], 8)
BITS.update(
    {"F4": 4, "F6_E2M3": 6, "BF16": 16, "F16": 16, "U16": 16, "F64": 64, "I64": 64, "C64": 64, "C128": 128}
)
DATA = 'layer { name: "data" type: "Python" top: "data" top: "label" python_param { %s } }'
PARAM_STRINGS = (
    *("[" * 3000, "(" * 90 + ")" * 90, "-" * 9000 + "1", "+" * 100_000 + "1", "9" * 5000, "{'mean': 5j}"),
    *("{'mean': (1e999, 1, 2)}", "{'mean': (1, 2)}", "{'mean': (1e30, 2, 3)}", "{'mean': None}", "{[]: 1}"),
    *("not " * 5000 + "1", "1" + "+1" * 20_000, "{'mean': (" + "1," * 100_000 + ")}", "{'mean': " * 60),
)
NUMBERS = (
    *("-1", "0", "1", "2", "7", "65536", "4294967295", "4294967296", "1e300", "nan", "0.5", "1" * 5000),
    *("0x7fffffff", "AVE", "STOCHASTIC", "true"),
)
TEXTS = ("conv1_1", "data", "", "x" * 100_000, "\\377", "\\033[2J", "Crop", "Python")


def other_prototxt(text, rng):
    """Some values of settings replaced, settings repeated, layers removed, repeated, nested or renamed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines, kind = text.splitlines(), rng.randrange(9)
        at = rng.randrange(len(lines))
        settings = [*re.finditer(r"(\w+): (\S+)", lines[at])]
        one = rng.choice(settings) if settings else None
        if kind <= 3 and one:
            new = f'"{rng.choice(TEXTS)}"' if '"' in one[2] else rng.choice(NUMBERS)
            lines[at] = lines[at][: one.start(2)] + new + lines[at][one.end(2) :]
        elif kind == 4 and one:
            lines[at] = lines[at].replace(one[0], f"{one[0]} " * rng.choice((2, 3, 20_000)), 1)
        elif kind == 5:
            lines[at : at + 1] = rng.choice(
                ([], [lines[at]] * 2, [lines[at]] * 3000, [lines[at - 1], lines[at]])
            )
        elif kind == 6:
            lines[at] = lines[at].replace("{", "{ " * rng.choice((2, 300, 5000)), 1)
        elif kind == 7:
            chain = 'layer {{ name: "r{0}" type: "{1}" bottom: "{2}" top: "r{0}" }}'
            kinds = [rng.choice(("ReLU", "Dropout", "Power", "Scale", "Split"))] * rng.choice((3, 20_000))
            lines[at:at] = [chain.format(i, k, f"r{i - 1}" if i else "data") for i, k in enumerate(kinds)]
        else:
            lines[: rng.choice((0, 5))] = [DATA % f'layer: "D" param_str: "{rng.choice(PARAM_STRINGS)}"']
        text = "\n".join(lines)
    return text


def other_safetensors(content, rng):
    """The type, place or shape of an array changed, the header as JSON, its length, or bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    entry, kind, length = header[rng.choice([*header])], rng.randrange(10), None
    if kind <= 3:
        size = entry["data_offsets"][1] - entry["data_offsets"][0]
        entry["dtype"], bits = rng.choice([*BITS.items()])
        entry["shape"] = rng.choice(([8 * size // bits], entry["shape"]))
    elif kind == 4:
        entry["data_offsets"] = rng.choice(([0, 2**60], [2**62, 2**63], [-4, 0], [8, 4], [0, 0], [0, 4]))
    elif kind == 5:
        entry["shape"] = rng.choice(
            ([2**62, 0], [2**32, 2**32], [], [0], [-1], entry["shape"][::-1], [1] * 200)
        )
    elif kind <= 7:
        header = other_json(header, rng)
    elif kind == 8:
        length = rng.choice((2**60, 2**31, 2**63, 100_000_001, 0, 1))
    text = text_of(header).encode()
    result = struct.pack("<Q", len(text) if length is None else length) + text + values
    return other_bytes(result, rng) if kind == 9 else result


def params(arrays, rng=None):
    """A file of MXNet's of arrays `{name: float32}`; with `rng`, one that differs in a part."""
    wrong = rng.randrange(15) if rng else -1
    victim = rng.randrange(len(arrays)) if rng else -1
    out = [struct.pack("<QQQ", 0x112, 0, 2**40 if wrong == 0 else len(arrays))]
    names = [name.encode() if isinstance(name, str) else name for name in arrays]
    for number, array in enumerate(arrays.values()):
        shape, kind, storage, values = [*array.shape], 0, 0, array.astype("<f4").tobytes()
        dimensions = len(shape)
        if number == victim:
            if wrong == 1:  # dimensions that multiply to nothing, or to more than there is
                shape = rng.choice(
                    ([0, 2**62], [2**62, 0, 2**62], [2**62] * 4, [0], [-1, -4], [2**32, 2**32], [2**31])
                )
                values = values[: 4 * prod(shape)] if 0 <= prod(shape) < 2**31 else values
                dimensions = len(shape)
            elif wrong == 2:
                dimensions = rng.choice((0, 33, 2**16, 2**31, 2**32 - 1))
            elif wrong == 3:
                kind = rng.choice((-1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 99, 2**31 - 1))
                values = values * 2
                values = values[: prod(shape) * {1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}.get(kind, 4)]
            elif wrong == 4:
                storage = rng.choice((-1, 1, 2, 7))
            elif wrong == 5:
                values = values[: rng.randrange(len(values))]
            elif wrong == 6:  # another shape of as many values
                shape = rng.choice((shape[::-1], [prod(shape)], [1, *shape], [*shape, 1]))
                dimensions = len(shape)
            elif wrong == 7:
                values = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38))) * prod(shape)
        device = (99, -5) if wrong == 8 and number == victim else (2, 127) if wrong == 9 else (1, 0)
        out += [struct.pack("<IiI", 0xF993FACA if wrong == 14 else 0xF993FAC9, storage, dimensions)]
        out += [struct.pack(f"<{len(shape)}q", *shape), struct.pack("<iii", *device, kind), values]
    if wrong == 10:
        names[victim] = rng.choice(
            (b"\xff\xfe", b"arg:x\0y", b"", b"arg:", b"state:1", b"x" * 10**6, b"arg:\x1b[2J")
        )
    elif wrong == 11:
        names[victim] = names[victim - 1]
    elif wrong == 12:
        names = rng.choice((names[1:], [*names, b"arg:more"], names[::-1]))
    out += [struct.pack("<Q", 2**50 if wrong == 13 else len(names))]
    for name in names:
        out += [struct.pack("<Q", len(name)), name]
    content = b"".join(out)
    return other_bytes(content, rng) if rng and wrong == 5 and rng.random() < 0.5 else content

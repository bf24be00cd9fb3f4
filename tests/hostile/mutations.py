"""Changes of sound files, of any format: of values in JSON, of lines of text, of bytes."""

import copy
import hashlib
import json

RAW = {  # texts that stand for what Python's `json` does not write
    "@digits": "9" * 5000,
    "@infinite": "1e999",
    "@nan": "NaN",
    "@minus": "-Infinity",
    "@deep": "[" * 900 + "]" * 900,
    "@deeper": "[" * 100_000 + "]" * 100_000,
    "@deepest": '{"a":' * 500 + "1" + "}" * 500,
}
VALUES = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**18), 0.5, -0.5, 1e30, 1e300, 99999),
    *("", "x", "../../etc/passwd", "\ud800", "\udcff", "\0", "a\nb\x1b[31m", "9" * 400, "%s{0}", "fcn99s"),
    *([], {}, [[]], [None], {"": None}, [1, 2], ["x"] * 3, {"x": {"y": [1]}}, [0] * 1000),
    *RAW,
]


def places(content, at=()):
    """Paths of all values in a JSON value."""
    yield at
    inner = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in inner:
        yield from places(value, (*at, key))


def other_json(content, rng, deletions=0.15):
    """The value with one or two of its parts replaced, removed, doubled, wrapped or renamed."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2))):
        if not isinstance(content, (dict, list)) or not content:
            return content
        keys = list(content) if isinstance(content, dict) else range(len(content))
        first = rng.choice(keys)
        path = (first, *rng.choice(list(places(content[first]))))
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        key, kind = path[-1], rng.random()
        if kind < deletions:
            del holder[key]
        elif kind < deletions + 0.05:
            holder[key] = [holder[key]]
        elif kind < deletions + 0.1:
            holder[key] = {"x": holder[key]}
        elif kind < deletions + 0.15 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind < deletions + 0.2 and isinstance(holder, dict):
            holder[rng.choice(("", "new", "func", "parser", "\ud800"))] = holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return content


def text_of(content):
    """JSON of a value, with what `RAW` stands for."""
    text = json.dumps(content)
    for short, long in RAW.items():
        text = text.replace(f'"{short}"', long)
    return text


def sealed(content):
    """JSON of a value with its checksum, as fcnxs writes it."""
    text = text_of(content)
    try:
        read = json.loads(text)
        seal = hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()
    except (ValueError, RecursionError):
        seal = "0" * 64
    return f'{text[:-1]}, "sha256": "{seal}"}}' if text.endswith("}") and len(text) > 2 else text


def other_bytes(content, rng):
    """Some bytes replaced, inserted, removed or repeated, or the end cut off."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, length = rng.randrange(len(content) + 1), rng.choice((1, 1, 2, 4, 8, 100))
        number = rng.choice(
            (0, 1, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**62, 2**63, 2**64 - 1)
        )
        new = rng.choice(
            (number.to_bytes(8, "little"), number.to_bytes(8, "little")[:4], rng.randbytes(length))
        )
        kind = rng.choice(("replace", "replace", "replace", "insert", "delete", "repeat", "cut"))
        if kind == "cut":
            content = content[:at]
        else:
            put = {"replace": new, "insert": new, "delete": b"", "repeat": 2 * content[at : at + length]}[kind]
            content = content[:at] + put + content[at + {"replace": len(new), "insert": 0}.get(kind, length) :]
    return content


def other_text(text, rng):
    """Some lines of a text replaced, repeated, joined, or with odd characters."""
    odd = (
        "\x1b[2J",
        "\u202e",
        "\t",
        "\r",
        "\x85",
        ",",
        ":",
        "\0",
        "\ufeff",
        "a" * 5000,
        "\\",
        "/",
        "../" * 40,
        "\x7f",
    )
    lines = text.splitlines()
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(lines)) if lines else 0
        kind = rng.randrange(6)
        if not lines or kind == 0:
            lines.insert(at, rng.choice(odd))
        elif kind == 1:
            lines[at] = lines[at][: len(lines[at]) // 2] + rng.choice(odd) + lines[at][len(lines[at]) // 2 :]
        elif kind == 2:
            lines[at : at + 1] = [lines[at]] * rng.choice((2, 300))
        elif kind == 3:
            del lines[at]
        elif kind == 4:
            lines[at] += rng.choice(odd)
        else:
            lines[at] = rng.choice(
                ("[" * 50_000, "{" * 3000, "9" * 6000, "index\timage\tlabel", "1\t2", '"', "<a>")
            )
    encoded = "\n".join(lines).encode(rng.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig")), "surrogatepass")
    return other_bytes(encoded, rng) if rng.random() < 0.2 else encoded

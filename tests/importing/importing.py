"""What the tests of imports share."""

import json

import numpy as np
from conftest import photo
from PIL import Image

from fcnxs.data.labels import load_label
from fcnxs.tools.main import main

WORDS = tuple(b'-1 nan 1e308 99999999999 ../ \0 \xff < " &amp; , ; :'.split()) + (b"",)


def put(root, files):
    """Write files below a folder by their names: text, JSON, an image of (H, W) or (H, W, seed), or a mask."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.write_text(content)
        elif isinstance(content, dict):
            file.write_text(json.dumps(content))
        else:
            pixels = photo(*content) if isinstance(content, tuple) else np.asarray(content, np.uint8)
            Image.fromarray(pixels).save(file)
    return root


def imported(source, *options):
    """Labels by their paths without suffix, names of the classes, and the account's counts by kind."""
    target = source.parent / "target"
    assert main(["import-data", str(source), str(target), *map(str, options)]) == 0
    labels = {
        file.relative_to(target / "labels").with_suffix("").as_posix(): load_label(file).values
        for file in (target / "labels").rglob("*.png")
    }
    kinds = json.loads((target / "import.json").read_text())["kinds"]
    names = (target / "classes.txt").read_text().splitlines()
    return labels, names, {kind: found["count"] for kind, found in kinds.items()}


def refusal(source, capsys, *options):
    """The one line with which an import ends that leaves no target."""
    target = source.parent / "target"
    capsys.readouterr()
    assert main(["import-data", str(source), str(target), *map(str, options)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and not target.exists()
    return text


def damaged(rng, content):
    """Content with bytes changed, cut, or replaced by something that is likely to hurt."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(len(content) or 1))
        kind = rng.integers(3)
        if kind == 0 and content:
            content[start] = rng.integers(256)
        elif kind == 1:
            end = start + int(rng.integers(1, 9))
            content[start:end] = WORDS[rng.integers(len(WORDS))]
        else:
            del content[start : start + int(rng.integers(1, 30))]
    return bytes(content) or b"x"


def import_damaged(source, names, times, chosen, capsys):
    """Import a source that often with one file damaged: it succeeds, or ends with one line and no target.

    Args:
        names: files of the source.
        chosen: gives the file that is damaged, by the number of the import.
    """
    whole = {name: (source / name).read_bytes() for name in names}
    rng, codes = np.random.default_rng(0), []
    for i in range(times):
        name = chosen(i)
        (source / name).unlink()  # an earlier target may have a link to it
        (source / name).write_bytes(damaged(rng, whole[name]))
        target = source.parent / f"out{i}"
        codes.append(main(["import-data", str(source), str(target)]))
        err = capsys.readouterr().err
        assert (codes[-1], err.count("\n"), target.exists()) in ((0, 0, True), (2, 1, False)), (i, name, err)
        (source / name).write_bytes(whole[name])
    assert {0, 2} == {*codes}
    assert not [*source.parent.glob(".fcnxs*")]

"""What the tests of imports share."""

import json

import numpy as np
from conftest import photo
from PIL import Image

from fcnxs.data.labels import load_label
from fcnxs.tools.main import main


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
    assert main(["import-data", str(source), str(target), *options]) == 0
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
    assert main(["import-data", str(source), str(target), *options]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and not target.exists()
    return text

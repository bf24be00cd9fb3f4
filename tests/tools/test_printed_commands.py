"""Commands that a line prints can be pasted into a shell, whatever characters the paths have."""

import re
import shlex

import numpy as np
from conftest import photo
from PIL import Image

from fcnxs.tools.main import main


def printed(capsys, pattern):
    """Words of the command that the pattern finds in what was printed, as a shell splits them."""
    return shlex.split(re.search(pattern, capsys.readouterr().out)[1])


def test_paths_in_printed_commands_are_quoted(tmp_path, capsys, caffemodel):
    source, data, run = tmp_path / "from", tmp_path / "t8 Übung's", tmp_path / "my run $1"
    for folder in ("images", "masks"):
        (source / folder).mkdir(parents=True)
    Image.fromarray(photo(48, 48)).save(source / "images" / "a.jpg")
    Image.fromarray(np.eye(48, dtype=np.uint8)).save(source / "masks" / "a.png")
    assert main(["import-data", str(source), str(data)]) == 0
    assert printed(capsys, "(?m)^check them: fcnxs (.*)$") == ["check-data", str(data)]
    assert main(["pack", str(data), str(data / "it is.rec")]) == 0
    assert printed(capsys, "(?m)^check them: fcnxs (.*)$") == ["check-data", str(data / "it is.rec")]
    assert main(["convert", str(caffemodel), str(tmp_path / "vgg")]) == 0
    line = f"--prefix {tmp_path}/vgg --epoch 0 --stages fcn32s --epochs 1"
    assert main(["finetune", "--data", str(data), "--output", str(run), *line.split()]) == 0
    out = capsys.readouterr().out
    assert shlex.split(re.search("`fcnxs (report .*)` makes", out)[1]) == ["report", str(run)]
    assert shlex.split(re.search("the last with (.*)", out)[1])[1] == str(run / "fcn32s")

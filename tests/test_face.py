"""What a user of the library sees of it: `dir(fcnxs)`, completion, `help`, and what type checkers say."""

import ast
import importlib
import importlib.util
import inspect
import os
import pydoc
import re
import subprocess
import sys
from doctest import DocTestParser
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from PIL import Image

import fcnxs
from fcnxs import checkpoint, predict, symbols
from fcnxs.data import FileIter, Loader
from fcnxs.data.samples import Samples
from fcnxs.finetune import Output

ROOT = Path(__file__).parent.parent
READMES = [ROOT / name for name in ("README.md", "fcnxs/README.md", "tools/README.md", "symbols/README.md")]

TYPED = """
import pathlib
from typing import Any, Iterator, List, Union

import numpy as np

import fcnxs
from fcnxs.data import FileIter, Loader

array: np.ndarray
arrays: Iterator[np.ndarray]
segmenter = fcnxs.Segmenter("run/fcn8s")
photo = np.zeros((3, 4, 3), np.uint8)
several: List[Union[str, pathlib.Path]] = ["a.jpg", pathlib.Path("b.jpg")]
rows, columns = segmenter("photo.jpg").shape
array = segmenter.probabilities(pathlib.Path("photo.jpg")).sum(axis=0)
array = segmenter.overlay(photo, alpha=0.3)
arrays = segmenter(several)
arrays = segmenter.probabilities(iter([photo]))
arrays = segmenter.overlay(pathlib.Path(".").glob("*.jpg"), 0.3)
loader: Loader = FileIter("voc", "train.lst")
name: str = loader.current.name
net = fcnxs.symbols.NETS["fcn8s"](21)
offset: str = fcnxs.symbols.crop(net, net).attr("offset")
fcnxs.lifeline.join()
picture = fcnxs.shapes.picture
from fcnxs import *
error = FCNXSError("wrong")
"""
REFUSED = """
import fcnxs

fcnxs.nonsense
fcnxs.Segmenter("run/fcn8s")(3)
fcnxs.Segmenter("run/fcn8s")(["photo.jpg"]).shape
"""


def python(code, **variables):
    """What a new Python prints."""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORT = re.compile(r"(?:from|import) fcnxs(?:\.(\w+)| import ([\w, ]+))")
PATH = re.compile(r"(?<![\w./-])fcnxs\.([A-Za-z]\w*)")


def named_in_the_readmes():
    """Names that the READMEs take from the package, in code or text."""
    for file in READMES:
        text = file.read_text(encoding="utf-8")
        for module, names in IMPORT.findall(text):
            yield from [module] if module else names.split(", ")
        yield from PATH.findall(text)


def test_the_package_shows_what_the_readmes_use_and_no_more():
    shown = {*named_in_the_readmes(), "FCNXSError", "__version__"}
    assert shown == {*dir(fcnxs)}
    assert all(hasattr(fcnxs, name) for name in shown) and not hasattr(fcnxs, "nonsense")


def test_modules_come_at_their_first_use():
    names = [name for name in fcnxs.MODULES if name not in ("compat", "errors")]
    code = f"""
import sys
import fcnxs
dir(fcnxs)
print([name for name in sys.modules if name.split(".")[0] in ("mxnet", "gluoncv", "cv2", "torch")])
print([name for name in {names} if f"fcnxs.{{name}}" in sys.modules])
print(all(getattr(fcnxs, name) is sys.modules[f"fcnxs.{{name}}"] for name in {names}))
print(fcnxs.symbols.NETS is not None, fcnxs.data.FileIter.__name__, fcnxs.predict.Segmenter is fcnxs.Segmenter)
"""
    assert python(code).splitlines() == ["[]", "[]", "True", "True FileIter True"]


def test_a_star_import_leaves_the_names_of_variables_alone():
    names = {}
    exec("net, data, init = 1, 2, 3\nfrom fcnxs import *", names)
    assert names["Segmenter"] is fcnxs.Segmenter and (names["net"], names["data"], names["init"]) == (1, 2, 3)


def test_help_has_the_segmenter_and_the_errors():
    text = pydoc.plain(pydoc.render_doc(fcnxs))
    assert "class Segmenter" in text and "class FCNXSError" in text and "fcnxs.compat.use_the_machine" in text


@pytest.mark.parametrize("room", ["data", "predict", "symbols", "solver", "gluon", "checkpoint", "finetune"])
def test_completion_offers_all_names_of_a_room(room):
    module = importlib.import_module(f"fcnxs.{room}")
    assert {*module.__all__} <= {*dir(module)} and all(hasattr(module, name) for name in module.__all__)


def test_type_checkers_see_the_names_that_come_late():
    tree = ast.parse(inspect.getsource(fcnxs))
    block = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    names = [alias.asname or alias.name for node in block.body for alias in node.names]
    assert names == [*fcnxs.MODULES, "Scene", "Segmenter"]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Function that lets mypy check programs, with the package as it is installed, and returns its lines."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    folder = tmp_path_factory.mktemp("types")
    package = folder / "site" / "fcnxs"
    package.mkdir(parents=True)
    (folder / "mypy.ini").write_text("[mypy]\n[mypy-ncnn,nncf,openvino]\nignore_missing_imports = True\n")
    for child in (*(ROOT / "fcnxs").iterdir(), ROOT / "symbols", ROOT / "tools"):
        (package / child.name).symlink_to(child)

    def lines(programs):
        files = [folder / f"{name}.py" for name in programs]
        for file, text in zip(files, programs.values()):
            file.write_text(text, encoding="utf-8")
        options = ["--follow-imports=silent", "--no-implicit-reexport", "--disable-error-code=import-untyped"]
        command = [sys.executable, "-m", "mypy", *options, "--hide-error-context", "--no-error-summary", *files]
        environment = {**os.environ, "MYPYPATH": str(folder / "site"), "MYPY_CACHE_DIR": str(folder / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=600)
        assert not done.stderr, done.stderr
        return done.stdout.splitlines()

    return lines


def snippets():
    """Programs of the READMEs, by a name for each; the chapter is one."""
    for number, file in enumerate(READMES):
        codes = re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)
        examples = [DocTestParser().get_examples(code) for code in codes]
        codes = [
            "".join(each.source for each in found) if found else code for found, code in zip(examples, codes)
        ]
        codes = ["\n".join(codes)] if file.parent.name == "symbols" else codes
        yield from ((f"readme_{number}_{k}", code) for k, code in enumerate(codes))


def test_mypy_takes_the_readmes_and_tells_one_image_from_several(mypy):
    assert mypy({**dict(snippets()), "typed": TYPED}) == []


def test_mypy_refuses_what_is_wrong(mypy):
    found = mypy({"refused": REFUSED})
    errors = [line for line in found if ": error:" in line]
    assert [int(line.split(":")[1]) for line in errors] == [4, 5, 6], found


def test_attributes_that_are_files_are_paths(tmp_path):
    net = symbols.get_fcn32s_symbol(2, width=WIDTH, fc=FC)
    source = checkpoint.Checkpoint(net, random_params(net), {}, checkpoint.Meta(), "weights")
    assert source.params_file == Path("weights")
    assert Output("run", checkpoint.Meta()).folder == Path("run")
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file in files:
        Image.fromarray(np.zeros((30, 30), np.uint8)).save(file)
    (tmp_path / "list.txt").write_text("a.png a.png\nb.png b.png\nc.png c.png\n")
    iterator = FileIter(tmp_path, "list.txt")
    assert iterator.current == files[0]
    assert [(next(iterator).files, iterator.current) for _ in files] == [((file,), file) for file in files]
    loader = Loader(Samples([*map(str, files)], files, str(tmp_path)), batch_size=2)
    assert loader.current == files[1]  # the first batch, as `data` gives it
    assert [(batch.files, loader.current) for batch in loader] == [
        (tuple(files[:2]), files[1]),
        ((files[2],), files[2]),
    ]
    seen = []
    predict.evaluate(fcnxs.Segmenter(source), loader, lambda file, _: seen.append(file))
    assert seen == files

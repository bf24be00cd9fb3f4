"""The READMEs: their Python runs, their table has all commands, the files and names that they mention exist."""

import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

import fcnxs
from fcnxs import checkpoint, symbols
from fcnxs.deploy import write
from fcnxs.deploy.form import Form
from fcnxs.tools.main import COMMANDS

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "fcnxs/README.md", "tools/README.md", "symbols/README.md", "symbols/ARTICLE.md")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with what the READMEs speak of: run/fcn8s of epoch 19, photo.jpg, photos/."""
    net = symbols.get_fcn8s_symbol(21, width=WIDTH, fc=FC)
    checkpoint.save(tmp_path / "run" / "fcn8s", 19, net, random_params(net), {}, checkpoint.Meta())
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/first.jpg", "photos/second.jpg"):
        Image.fromarray(photo(50, 60)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)


def code_of(file, heading):
    """The Python below a heading."""
    return re.search(rf"^## {heading}\n.*?```python\n(.*?)```", (ROOT / file).read_text(), re.S | re.M)[1]


@pytest.mark.parametrize(("file", "heading"), [("README.md", "In Python"), ("fcnxs/README.md", "Segmenting")])
def test_segmenting_gives_what_it_says(folder, file, heading):
    names = {}
    exec(code_of(file, heading), names)
    assert names["class_map"].shape == (50, 60) and names["class_map"].dtype == np.uint8
    assert names["picture"].shape == (50, 60, 3) and names["picture"].dtype == np.uint8
    if "probabilities" in names:
        np.testing.assert_allclose(names["probabilities"].sum(axis=0), 1, rtol=1e-5)


def test_gluon_gives_what_the_segmenter_gives(folder):
    names = {}
    exec(code_of("fcnxs/README.md", "Gluon"), names)
    expected = fcnxs.Segmenter("run/fcn8s", 19)("photo.jpg")
    assert (names["class_map"][0].asnumpy() == expected).mean() > 0.999
    assert Path("deploy/fcn8s-0019.params").is_file()


def test_exports_give_what_the_segmenter_gives(folder):
    source = checkpoint.load("run/fcn8s", 19)
    write.export(source, "deploy/fcn8s")
    write.export(source, "deploy/fcn8s", Form(format="onnx"))
    if find_spec("ncnn"):
        write.export(source, "deploy/fcn8s", Form(format="ncnn"))
    with Image.open("photo.jpg") as image:
        image.getexif()[0x0112] = 6  # turned
        image.save("photo.jpg", exif=image.getexif())
    write.export(source, "deploy/fixed", Form(format="onnx", size=(60, 50), trimmed=True, raw="float32"))
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "tools/README.md").read_text(), re.S):
        names, quantized = {}, "nncf" in code
        needed = [
            name for name in ("nncf", "openvino", "ncnn") if re.search(rf"^import .*\b{name}\b", code, re.M)
        ]
        if not all(map(find_spec, needed)):
            continue
        exec(code, names)
        expected = fcnxs.Segmenter(source).probabilities("photo.jpg")
        given = names["probabilities"]
        given = given if isinstance(given, np.ndarray) else given.asnumpy()
        if quantized:
            assert (given[0].argmax(0) == expected.argmax(0)).mean() > 0.9
        else:
            np.testing.assert_allclose(given[0], expected, atol=1e-4)
    assert expected.shape == (21, 60, 50)


def test_the_table_has_every_command():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text(), re.M)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == {*COMMANDS}


def anchors(text):
    """The anchors that GitHub gives the headings of a text below its title, in order."""
    headings = re.findall(r"^##+ (.*)$", text, re.M)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("name", READMES)
def test_links_lead_to_files_and_headings(name):
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", (ROOT / name).read_text())
    assert links
    for file, anchor in links:
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.is_file() and (not anchor or anchor in anchors(target.read_text())), (file, anchor)


@pytest.mark.parametrize("name", READMES[1:])
def test_the_deeper_readmes_begin_with_their_contents(name):
    contents, heading, rest = (ROOT / name).read_text().partition("\n## ")
    assert re.findall(r"\(#(.*?)\)", contents) == anchors(heading + rest)


@pytest.mark.parametrize("name", READMES)
def test_files_modules_and_tests_that_are_named_exist(name):
    text, tests = (ROOT / name).read_text(), re.compile(r"`([\w/]+\.py)::(\w+)`")
    for path, test in tests.findall(text):
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(), (path, test)
    paths = re.compile(r"(?<![\w/.-])((?:fcnxs|symbols|tools|tests|\.docs|\.ci)/(?:[\w./]*\w)?)")
    for path in paths.findall(tests.sub("", text)):
        assert (ROOT / path).exists(), path
    for dotted in re.findall(r"`(fcnxs(?:\.\w+)+)[`(]", text):
        assert pkgutil.resolve_name(dotted), dotted

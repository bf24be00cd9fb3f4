"""What a command did not write is replaced with --overwrite alone, and what it wrote is without."""

import json
import os
import re
import shutil
import struct
import zipfile

import cv2
import numpy as np
import pytest
from conftest import photo
from PIL import Image
from test_max_pixels import data, prefix  # noqa: F401  (fixtures)

import fcnxs
from fcnxs.system import own
from fcnxs.tools.main import main
from fcnxs.vis import save_mask, voc_palette

MARK = f"fcnxs {fcnxs.__version__}"
WAY_OUT = "is there already, and this command did not write it so; --overwrite replaces it"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_photo(file, seed=0, size=(60, 70)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(*size, seed=seed)).save(file)
    return file


def old_mask(file, palette, size=(60, 70)):
    """As versions wrote it that had no mark."""
    image = Image.new("L", size[::-1])
    image.putpalette(sum(palette, []))
    image.save(file)


def film(file, frames=3):
    writer = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 60 * number, np.uint8))
    writer.release()


def boxes(content):
    """Types of an MP4's outermost boxes (ISO/IEC 14496-12, 4.2), and the content of the last."""
    kinds, at = [], 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        kinds.append(kind)
        last, at = content[at + 8 : at + size], at + size
    assert at == len(content)
    return kinds, last


def segment(prefix, *more):  # noqa: F811
    return main(["segment", "--prefix", str(prefix), "--epoch", "0", *map(str, more), "--output", "pictures"])


def test_a_photograph_in_the_output_folder_is_kept(prefix, here, capsys):  # noqa: F811
    images = [save_photo(here / "new" / f"{name}.png") for name in ("cat", "dog", "fox")]
    kept = [save_photo(here / "pictures" / name, seed=9) for name in ("cat.png", "dog_overlay.png")]
    before = [file.read_bytes() for file in kept]
    assert segment(prefix, *images) == 1
    out, err = (text.splitlines() for text in capsys.readouterr())
    assert [line.split(":")[0] for line in out[:-1]] == ["pictures/fox.png"]
    assert err[:2] == [
        f"fcnxs: pictures/{file.name}: {WAY_OUT}, or choose another name or folder" for file in kept
    ]
    assert err[2:] == ["fcnxs: 2 of 3 failed:", *(f"  {file}" for file in images[:2])]
    assert [file.read_bytes() for file in kept] == before
    for more, code in ([["--overwrite"], 0], [[], 0]):  # and then all are results
        assert segment(prefix, *images, *more) == code
    for name in ("cat", "cat_overlay", "dog", "dog_overlay", "fox", "fox_overlay"):
        with Image.open(here / "pictures" / f"{name}.png") as image:
            assert image.text == {"Software": MARK}


def test_results_of_earlier_versions_are_known_by_their_palette(prefix, here):  # noqa: F811
    image, masks = save_photo(here / "cat.png"), here / "pictures"
    masks.mkdir()
    ours = [*voc_palette(3), *voc_palette()[3:]]
    for palette, size, code in (
        (ours, (60, 70), 0),
        ([[1, 2, 3], *ours[1:]], (60, 70), 1),  # labels of the user's
        (ours, (61, 70), 1),  # beside which the picture is no overlay of it
    ):
        old_mask(masks / "cat.png", palette, size)
        save_photo(masks / "cat_overlay.png")
        assert segment(prefix, image) == code
    # A mask with the mark was written with an overlay that has it: a picture without it is the user's.
    save_mask(masks / "cat.png", np.zeros((60, 70), np.uint8), voc_palette(3))
    assert segment(prefix, image) == 1


def test_videos_alike(prefix, here, capsys):  # noqa: F811
    film(here / "trip.mp4")
    (here / "pictures").mkdir()
    with zipfile.ZipFile("pictures/trip.zip", "w") as archive:
        archive.writestr("000001.png", b"a drawing")
    film(here / "pictures" / "trip_overlay.mp4", 2)
    before = (here / "pictures" / "trip_overlay.mp4").read_bytes()
    assert segment(prefix, "trip.mp4") == 1
    assert f"pictures/trip.zip: {WAY_OUT}" in capsys.readouterr().err
    os.remove("pictures/trip.zip")
    assert segment(prefix, "trip.mp4") == 1
    assert f"pictures/trip_overlay.mp4: {WAY_OUT}" in capsys.readouterr().err
    assert (here / "pictures" / "trip_overlay.mp4").read_bytes() == before
    for more in (["--overwrite"], []):
        assert segment(prefix, "trip.mp4", *more) == 0
    content = (here / "pictures" / "trip_overlay.mp4").read_bytes()
    kinds, last = boxes(content)
    assert kinds[-1] == b"free" and last == MARK.encode() and {b"ftyp", b"moov", b"mdat"} < {*kinds}
    capture = cv2.VideoCapture("pictures/trip_overlay.mp4", cv2.CAP_FFMPEG)
    assert [capture.read()[0] for _ in range(4)] == [True, True, True, False]
    with zipfile.ZipFile("pictures/trip.zip") as archive:
        assert archive.comment == MARK.encode()
        maps = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile("pictures/trip.zip", "w") as archive:  # of an earlier version
        for name, png in maps:
            archive.writestr(name, png)
    (here / "pictures" / "trip_overlay.mp4").write_bytes(before)
    assert segment(prefix, "trip.mp4") == 0


def test_evaluate_keeps_pictures_and_json_of_others(prefix, data, here, capsys):  # noqa: F811
    command = ["evaluate", "--prefix", str(prefix), "--epoch", "0", "--data", str(data)]
    command += ["--dump", "dump", "--json", "scores.json"]
    save_photo(here / "dump" / "1.png")
    (here / "scores.json").write_text('{"prefix": "mine"}')
    for stranger in ("scores.json", "dump/1.png"):
        before = (here / stranger).read_bytes()
        assert main(command) == 2
        assert capsys.readouterr().err.startswith(f"fcnxs: {stranger}: {WAY_OUT}")
        assert (here / stranger).read_bytes() == before
        (here / stranger).write_bytes(b"")  # is nobody's loss
    for _ in range(2):
        assert main(command) == 0
    assert json.loads((here / "scores.json").read_text())["images"] == 3
    save_photo(here / "dump" / "1.png")
    assert main([*command, "--overwrite"]) == 0


def test_a_run_keeps_what_is_in_its_folder(prefix, data, here, capsys):  # noqa: F811
    (here / "mine").mkdir()
    (here / "mine" / "summary.json").write_text("{}")
    at = ["--prefix", str(prefix), "--epoch", "0", "--data", str(data), "--output", "mine", "--stages=fcn8s"]
    assert main(["finetune", *at]) == 2
    assert "mine/summary.json exists already, and is of no run in this folder" in capsys.readouterr().err
    assert os.listdir("mine") == ["summary.json"]


def test_check_data_keeps_a_list(data, here, capsys):  # noqa: F811
    (data / "labels" / "1.png").write_bytes(b"")
    command = ["check-data", str(data), "--num-classes", "3", "--bad", "bad.txt"]
    lines = "0\timages/0.png\tlabels/0.png\n"
    (here / "bad.txt").write_text(lines)
    assert main(command) == 2 and (here / "bad.txt").read_text() == lines
    assert f"bad.txt: {WAY_OUT}" in capsys.readouterr().err
    for more in (["--overwrite"], []):
        assert main([*command, *more]) == 1 and "1.png: empty" in (here / "bad.txt").read_text()


def test_convert_replaces_what_it_converted_alone(caffemodel, here, prefix, capsys):  # noqa: F811
    command = ["convert", str(caffemodel), "net"]
    files = [here / f"net{end}" for end in ("-symbol.json", "-0000.params", "-meta.json")]
    for _ in range(2):
        assert main(command) == 0
    files[1].write_bytes(files[1].read_bytes()[:-1] + b"x")  # changed since
    assert main(command) == 2 and f"net-0000.params: {WAY_OUT}" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    meta = json.loads(files[2].read_text())
    for change in (
        {"source": {**meta["source"], "file": "fcn16s-0003.params"}},  # trained weights, such as run/fcn8s-best
        {"export": {}},
    ):
        files[2].write_text(json.dumps({**meta, **change}))
        assert main(command) == 2 and f"net-symbol.json: {WAY_OUT}" in capsys.readouterr().err
    del meta["checksums"]  # of an earlier version
    files[2].write_text(json.dumps(meta))
    assert main(command) == 0
    files[2].unlink()
    assert main(command) == 2 and f"net-symbol.json: {WAY_OUT}" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_export_replaces_what_it_exported_alone(prefix, here, capsys):  # noqa: F811
    command = [
        "export",
        "--prefix",
        str(prefix),
        "--epoch",
        "0",
        "--image-size",
        "56x40",
        "--output",
        "deploy/net",
    ]
    for _ in range(2):
        assert main(command) == 0
    for end in ("-symbol.json", "-0000.params", "-meta.json"):  # weights that are no export's
        shutil.copy(f"{prefix}{end}", f"deploy/net{end}")
    assert main(command) == 2 and f"deploy/net-symbol.json: {WAY_OUT}" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    (here / "deploy" / "net-mxnet_compat.py").write_text("print('mine')\n")
    assert main(command) == 2 and f"deploy/net-mxnet_compat.py: {WAY_OUT}" in capsys.readouterr().err


def test_archives_and_onnx_files_are_known(prefix, here):  # noqa: F811
    from fcnxs.deploy import mar
    from fcnxs.deploy.own import refuse_to_replace

    def refused(form):
        try:
            refuse_to_replace("net", form, overwrite=False)
        except fcnxs.FCNXSError as error:
            return re.match(r"net\S+(?=:)", str(error))[0]
        return None

    (here / "net.onnx").write_bytes(b"weights")
    assert refused("onnx") == "net.onnx" and refused("mar") is None
    meta = {"versions": {"fcnxs": "1"}, "export": {}, "checksums": {"net.onnx": [own_sha(b"weights")]}}
    (here / "net.json").write_text(json.dumps(meta))
    assert refused("onnx") is None
    (here / "net.onnx").write_bytes(b"others")
    assert refused("onnx") == "net.onnx"
    for name, of in (("fcnxs_served/deploy/handler.py", None), ("handler.py", "net.mar")):
        with zipfile.ZipFile("net.mar", "w") as archive:
            archive.writestr(name, "")
        assert refused("mar") == of
    (here / "net.mar").unlink()
    for name, text in (("net.properties", mar.CONFIG), ("net-server.sh", mar.SCRIPT)):
        (here / name).write_text(text.format(name="net"))
        assert refused("mar") is None
        (here / name).write_text(text.format(name="net").replace("=", "= "))  # changed by hand
        assert refused("mar") == name
        (here / name).unlink()


def own_sha(content):
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_pages_are_known_by_their_title(here, run_folder, capsys):
    from fcnxs.tools.report import _is_report

    (here / "page.html").write_text("<title>garden</title>")
    assert main(["report", str(run_folder / "run"), "--output", "page.html"]) == 2
    assert f"page.html: {WAY_OUT}" in capsys.readouterr().err
    (here / "page.html").write_text("<title>a/run: report of a run of fcnxs</title>")
    assert _is_report(here / "page.html")


def test_the_mark_is_read_from_nothing_else(here):
    for name, content in (
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"Software\0fcnxs 1.0"),
        ("b.png", b"fcnxs 1.0"),
        ("c.mp4", b"a text about free fcnxs 1.0"),
        ("d.zip", b"PK\5\6 fcnxs 1.0"),
        ("e.zip", b""),
    ):
        (here / name).write_bytes(content)
        assert not own.is_marked(here / name), name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["segment", "--prefix", "net", "a.png", "--output", ""], "--output"),
        (["segment", "--prefix=", "a.png", "--output", "o"], "--prefix"),
        (["evaluate", "--prefix", "net", "--data", ""], "--data"),
        (["convert", "", "net"], "one of the values"),
        (["check-data", ""], "one of the values"),
        (["export", "--prefix", "net", "--output", ""], "--output"),
        (["report", ""], "one of the values"),
        (["finetune", "--resume", ""], "--resume"),
    ],
)
def test_empty_values_are_refused(command, name, capsys):
    assert main(command) == 2
    assert capsys.readouterr().err == f"fcnxs: {name}: is empty; is a shell variable in the command not set?\n"

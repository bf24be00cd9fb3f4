"""From each format to a report: import-data, check-data, finetune, evaluate, report, without more options."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, photo
from importing import put
from PIL import Image

from fcnxs.data.labels import load_label
from fcnxs.tools.main import main
from fcnxs.vis import voc_palette

CLASSES = ("background", "road", "car")
COLOURS = np.array([(0, 0, 0), (128, 64, 128), (64, 0, 128)], np.uint8)
BOXES = ((1, 4, 6, 40, 30), (2, 20, 10, 44, 40))  # class, left, top, right, bottom


def expected():
    label = np.zeros((48, 48), np.uint8)
    for value, left, top, right, bottom in BOXES:
        label[top:bottom, left:right] = value
    return label


def colour_labels(source):
    """Colour labels beside the images, and a map."""
    rows = [f"{name},{r},{g},{b}\n" for name, (r, g, b) in zip(CLASSES, COLOURS.tolist())]
    (source / "class_dict.csv").write_text("name,r,g,b\n" + "".join(rows))
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / f"{i}.jpg")
        Image.fromarray(COLOURS[expected()]).save(source / f"{i}_L.png")


def cvat_masks(source):
    lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(CLASSES, COLOURS.tolist())]
    (source / "labelmap.txt").write_text("".join(lines))
    for folder in ("JPEGImages", "SegmentationClass"):
        (source / folder).mkdir()
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / "JPEGImages" / f"{i}.jpg")
        Image.fromarray(COLOURS[expected()]).save(source / "SegmentationClass" / f"{i}.png")


def cvat_xml(source):
    (source / "images").mkdir()
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES[1:])
    boxes = "".join(
        f'<box label="{CLASSES[value]}" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"/>'
        for value, left, top, right, bottom in BOXES
    )
    images = "".join(f'<image name="{i}.jpg" width="48" height="48">{boxes}</image>' for i in range(5))
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    (source / "annotations.xml").write_text(f"<annotations>{meta}{images}</annotations>")
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / "images" / f"{i}.jpg")


def coco(source):
    (source / "train2017").mkdir()
    objects = [
        {"category_id": value, "segmentation": [[left, top, right, top, right, bottom, left, bottom]]}
        for value, left, top, right, bottom in BOXES
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 48, "height": 48} for i in range(5)],
        "annotations": [{**each, "image_id": i} for i in range(5) for each in objects],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES[1:], 1)],
    }
    (source / "instances_train2017.json").write_text(json.dumps(content))
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / "train2017" / f"{i}.jpg")


def labelme(source):
    (source / "labels.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
    boxes = [
        {"label": CLASSES[value], "shape_type": "rectangle", "points": [(left, top), (right - 1, bottom - 1)]}
        for value, left, top, right, bottom in BOXES
    ]
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / f"{i}.jpg")
        content = {"shapes": boxes, "imagePath": f"{i}.jpg", "imageHeight": 48, "imageWidth": 48}
        (source / f"{i}.json").write_text(json.dumps(content))


def roboflow(source):
    (source / "train").mkdir()
    lines = [f"{number}, {name}\n" for number, name in enumerate(CLASSES)]
    (source / "train" / "_classes.csv").write_text("Pixel Value, Class\n" + "".join(lines))
    for i in range(5):
        Image.fromarray(photo(48, 48, i)).save(source / "train" / f"{i}.jpg")
        Image.fromarray(expected()).save(source / "train" / f"{i}_mask.png")


VAL = ("--val-fraction", "0.4")  # two of five images


@pytest.mark.parametrize("make", [colour_labels, cvat_masks, cvat_xml, coco, labelme, roboflow])
def test_a_source_comes_to_a_report(make, caffemodel, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    make(source)
    names = to_a_report(source, VAL, (0, 1, 2), caffemodel, tmp_path, capsys)
    assert names == [*CLASSES]


def pairs(image, mask, values, name=lambda split, i: f"{i}"):
    """Five images with masks of these values for the classes of `expected`; the last two are in val."""
    numbered = [(("train", "val")[i > 2], name(("train", "val")[i > 2], i)) for i in range(5)]
    masks = {mask.format(*each): np.array(values)[expected()] for each in numbered}
    return {**{image.format(*each): (48, 48, i) for i, each in enumerate(numbered)}, **masks}


def ade(split, i):
    return f"{ {'train': 'training', 'val': 'validation'}[split] }/ADE_{split}_{i}"


CITY = "leftImg8bit/{0}/ulm/ulm_{1}_leftImg8bit.png", "gtFine/{0}/ulm/ulm_{1}_gtFine_labelIds.png"
BIRDS = "images/001.A/{1}.jpg", "segmentations/001.A/{1}.png"
LISTS = {
    "images.txt": "".join(f"{i} 001.A/{i}.jpg\n" for i in range(5)),
    "train_test_split.txt": "".join(f"{i} 1\n" for i in range(5)),
}
PETS = {"annotations/trainval.txt": "".join(f"{i} 1 1 1\n" for i in range(5)), "annotations/test.txt": ""}
TRIMAPS = "images/{1}.jpg", "annotations/trimaps/{1}.png"
NAMES = {"class_names.txt": "_background_\nroad\ncar"}
IN_VOC = "JPEGImages/{1}.jpg", "SegmentationClassPNG/{1}.png"
OTHERS = {  # files, options, and the positions of their classes
    "labelme-voc": (
        {"class_names.txt": "_background_\nroad\ncar", **pairs(*IN_VOC, (0, 1, 2))},
        VAL,
        (0, 1, 2),
    ),
    "binary": (pairs("images/{1}.jpg", "masks/{1}.png", (0, 255, 255)), (*VAL, "--binary"), (0, 1, 1)),
    "threshold": (pairs("{1}.jpg", "{1}_mask.png", (0, 51, 204)), (*VAL, "--threshold", "128"), (0, 0, 1)),
    "cityscapes": (pairs(*CITY, (7, 26, 33)), (), (0, 13, 18)),
    "ade20k": (pairs("images/{1}.jpg", "annotations/{1}.png", (1, 2, 150), ade), (), (0, 1, 149)),
    "coco-stuff": (pairs("{0}2017/{1}.jpg", "stuffthingmaps/{0}2017/{1}.png", (0, 10, 181)), (), (0, 10, 170)),
    "cub-200": ({**LISTS, **pairs(*BIRDS, (0, 51, 204))}, VAL, (0, 0, 1)),
    "oxford-pet": (
        {**PETS, **pairs("images/{1}.jpg", "annotations/trimaps/{1}.png", (2, 1, 3))},
        VAL,
        (0, 1, 255),
    ),
}


@pytest.mark.parametrize("name", OTHERS if LONG else ("labelme-voc", "binary"))
def test_masks_of_other_sources_come_to_a_report(name, caffemodel, tmp_path, capsys):
    files, options, positions = OTHERS[name]
    to_a_report(put(tmp_path / "source", files), options, positions, caffemodel, tmp_path, capsys)


def to_a_report(source, options, positions, caffemodel, tmp_path, capsys):
    """Take a source through the commands, and return the names of its classes.

    Its labels have `positions` for the classes of `expected`.
    """
    label, data, run = np.array(positions)[expected()], tmp_path / "data", tmp_path / "run"
    assert main(["import-data", str(source), str(data), *options]) == 0
    files = [*(data / "labels").rglob("*.png")]
    assert len(files) == 5
    for file in files:
        np.testing.assert_array_equal(load_label(file).values, label)
    assert main(["check-data", str(data)]) == 0
    assert main(["convert", str(caffemodel), str(tmp_path / "vgg")]) == 0
    parent = ["--prefix", str(tmp_path / "vgg"), "--epoch", "0"]
    once = ["--recipe", "adam", "--stages", "fcn32s", "--epochs", "1", "--quiet"]
    assert main(["finetune", "--data", str(data), *parent, "--output", str(run), *once]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--prefix", str(run / "fcn32s"), "--data", str(data)]) == 0
    out = capsys.readouterr().out
    names = (data / "classes.txt").read_text().splitlines()
    for position in {*positions} - {255}:  # of two images
        assert re.search(rf"^{names[position]} +{2 * (label == position).sum()} ", out, re.M)
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    return names


ODD = np.array([(0, 0, 0), (250, 3, 9), (4, 5, 246)], np.uint8)  # no colours of VOC


def imported_in_odd_colours(tmp_path):
    (tmp_path / "labelled").mkdir()
    cvat_masks(tmp_path / "labelled")
    for file in (tmp_path / "labelled" / "SegmentationClass").iterdir():
        Image.fromarray(ODD[expected()]).save(file)
    lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(CLASSES, ODD.tolist())]
    (tmp_path / "labelled" / "labelmap.txt").write_text("".join(lines))
    assert main(["import-data", str(tmp_path / "labelled"), str(tmp_path / "data")]) == 0
    return tmp_path / "data"


def meta_of_a_run(data, caffemodel, tmp_path, *options):
    assert main(["convert", str(caffemodel), str(tmp_path / "vgg")]) == 0
    line = f"finetune --data {data} --prefix {tmp_path}/vgg --epoch 0 --output {tmp_path}/run --stages fcn32s"
    assert main([*line.split(), "--epochs", "1", *options]) == 0
    return json.loads((tmp_path / "run" / "fcn32s-meta.json").read_text())


@pytest.mark.parametrize("packed", [False, True])
def test_the_colours_of_the_source_are_those_of_the_masks(caffemodel, tmp_path, packed):
    data, options = imported_in_odd_colours(tmp_path), []
    if packed:
        assert main(["pack", str(data), str(tmp_path / "data.rec")]) == 0
        options = ["--classes", str(data / "classes.txt")]
    meta = meta_of_a_run(data.with_suffix(".rec") if packed else data, caffemodel, tmp_path, *options)
    assert meta["palette"] == ODD.tolist()
    segment = f"segment --prefix {tmp_path}/run/fcn32s {data}/images/0.jpg --output {tmp_path}/masks"
    assert main(segment.split()) == 0
    with Image.open(tmp_path / "masks" / "0.png") as mask:
        assert mask.getpalette()[:9] == ODD.ravel().tolist()


@pytest.mark.parametrize(
    "change, warning",
    [
        (lambda file: file.with_name("classes.txt").write_text("background\nroad\nbus\n"), ""),
        (lambda file: file.write_text(file.read_text().replace("#fa0309", "red")), "'red' is no colour"),
        (lambda file: file.write_text("[]"), "not the account of an import"),
    ],
)
def test_other_classes_and_damaged_accounts_have_vocs_colours(caffemodel, tmp_path, change, warning, capsys):
    data = imported_in_odd_colours(tmp_path)
    change(data / "import.json")
    capsys.readouterr()
    assert meta_of_a_run(data, caffemodel, tmp_path)["palette"] == voc_palette(3)
    text = capsys.readouterr().err
    assert (warning in text and "import.json" in text) if warning else "import.json" not in text


def test_the_lines_of_the_readme_lead_from_photographs_to_a_net(caffemodel, tmp_path, monkeypatch):
    """With one epoch each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labelled").mkdir()
    labelme(tmp_path / "labelled")
    assert main(["convert", str(caffemodel), "fcnxs-demo/vgg16fc"]) == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Your own images\n(.*?)^## ", readme, re.S | re.M)[1]
    lines = re.findall(r"^fcnxs (.*)$", section, re.M)
    assert [line.split()[0] for line in lines] == ["import-data", "finetune", "report", "segment", "export"]
    for line in lines:
        once = ["--epochs", "1"] if line.startswith("finetune") else []
        assert main(shlex.split(line, comments=True) + once) == 0, line
    assert Path("mine/report.html").is_file() and Path("deploy/mine-0000.params").is_file()
    assert [file.suffix for file in Path("masks").glob("*_overlay.png")] == [".png"]  # a fifth of five images

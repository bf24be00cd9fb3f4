"""SIFT Flow, NYUDv2 and PASCAL-Context in small copies of the layouts that the authors' data layers read."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fcnxs import FCNXSError
from fcnxs.conventions import CONTEXT_CLASSES
from fcnxs.data.datasets import NAMED, named

OUTDOOR = "spatial_envelope_256x256_static_8outdoorcategories"
SIZE = (5, 8)


def write(file, values, key):
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {key: values})


def image(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(file)


def test_sift_flow_has_two_labellings(tmp_path):
    """As loaded by the authors: semantic 0, geometric -1 and 0 are no class; the others count from 1."""
    rng = np.random.default_rng(0)
    semantic = rng.integers(0, 34, SIZE).astype(np.float64)  # MATLAB's numbers
    geometric = rng.choice([-1, 1, 2, 3], SIZE).astype(np.int16)
    semantic[0, :2], geometric[0, :2] = (0, 33), (-1, 3)
    (tmp_path / "test.txt").write_text("coast_natu975\n")
    image(tmp_path / "Images" / OUTDOOR / "coast_natu975.jpg")
    write(tmp_path / "SemanticLabels" / OUTDOOR / "coast_natu975.mat", semantic, "S")
    write(tmp_path / "GeoLabels" / OUTDOOR / "coast_natu975.mat", geometric, "S")
    for name, values, first, count in (
        ("siftflow", semantic, "awning", 33),
        ("siftflow_geo", geometric, "sky", 3),
    ):
        samples = named(name, tmp_path, "test")
        _, label = samples.read(0)
        expected = np.array([[255 if v <= 0 else int(v) - 1 for v in row] for row in values])
        np.testing.assert_array_equal(label, expected)
        assert label.dtype == np.uint8 and samples.classes[0] == first and len(samples.classes) == count
        assert len(samples.palette) == count
    with pytest.raises(FCNXSError, match="siftflow has no split 'train'; it has trainval, test"):
        named("siftflow", tmp_path, "train")


def test_nyud_has_40_classes_and_void(tmp_path):
    values = np.arange(40, dtype=np.uint8).reshape(5, 8)
    for part, stem in (("train", "5133"), ("val", "6002")):
        (tmp_path / f"{part}.txt").write_text(f"{stem}\n")
        image(tmp_path / "data" / "images" / f"img_{stem}.png")
        write(tmp_path / "segmentation" / f"img_{stem}.mat", values + (part == "val"), "segmentation")
    samples = named("nyud", tmp_path, "trainval")
    assert [file.name for file in samples.images] == ["img_5133.png", "img_6002.png"]
    np.testing.assert_array_equal(samples.read(0)[1], values - np.uint8(1))  # 0 becomes 255
    np.testing.assert_array_equal(samples.read(1)[1], values)
    assert samples.classes[0] == "wall" and samples.classes[39] == "otherprop"


def context(tmp_path, values, drop=""):
    """A list of 459 labels, of which the 59 classes are every seventh from the end, and one image."""
    old = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
    numbers = {459 - 7 * i: old.get(name, name) for i, name in enumerate(CONTEXT_CLASSES[1:])}
    lines = [
        f"{n}: {numbers.get(n, f'thing{n}').replace('pottedplant', 'potted plant')}" for n in range(1, 460)
    ]
    (tmp_path / "pascal-context").mkdir(exist_ok=True)
    text = "".join(f"{line}\n" for line in lines if not drop or not line.endswith(f": {drop}"))
    (tmp_path / "pascal-context" / "labels.txt").write_text(text)
    (tmp_path / "VOC2010" / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (tmp_path / "VOC2010" / "ImageSets" / "Main" / "val.txt").write_text("2008_000002\n")
    image(tmp_path / "VOC2010" / "JPEGImages" / "2008_000002.jpg")
    write(tmp_path / "pascal-context" / "trainval" / "2008_000002.mat", values, "LabelMap")
    return {number: 1 + i for i, number in enumerate(numbers)}


def test_pascal_context_takes_59_of_its_labels(tmp_path):
    """By their names in labels.txt, three of which differ; all other labels are background."""
    values = np.random.default_rng(0).integers(1, 460, SIZE).astype(np.uint16)
    values.flat[:5] = (459, 452, 459 - 7 * 9, 1, 53)
    classes = context(tmp_path, values)
    samples = named("pascal_context", tmp_path, "val")
    np.testing.assert_array_equal(samples.read(0)[1], np.vectorize(lambda n: classes.get(n, 0))(values))
    assert samples.read(0)[1].flat[2] == CONTEXT_CLASSES.index("cow") and samples.classes == [*CONTEXT_CLASSES]
    assert len(CONTEXT_CLASSES) == 60 and samples.palette[0] == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: context(root, np.full(SIZE, 460)),
            "2008_000002.mat: has the number 460, which labels.txt",
        ),
        (lambda root: context(root, np.full(SIZE, 1.5)), "cannot read this label: .*not whole numbers"),
        (
            lambda root: context(root, np.ones(SIZE), "bedclothes"),
            "labels.txt: has no label bedclothes; expected",
        ),
        (
            lambda root: (root / "pascal-context/trainval/2008_000002.mat").write_text("x"),
            "cannot read this label",
        ),
        (lambda root: (root / "pascal-context/trainval/2008_000002.mat").unlink(), "no such file"),
    ],
)
def test_other_files_are_refused_in_one_line(change, message, tmp_path):
    context(tmp_path, np.ones(SIZE))
    change(tmp_path)
    with pytest.raises(FCNXSError, match=message) as caught:
        named("pascal_context", tmp_path, "val").read(0)
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_root_is_told_what_it_should_have(tmp_path):
    for name in ("siftflow", "siftflow_geo", "nyud", "pascal_context"):
        with pytest.raises(FCNXSError, match=f"the root folder of {name} has .*from "):
            named(name, tmp_path, NAMED[name].splits[-1])

"""Masks beside images: what their values and colours mean."""

import importing
import numpy as np
import pytest
from conftest import photo
from importing import refusal
from PIL import Image

from fcnxs.data.labels import load_label


@pytest.fixture
def source(tmp_path):
    """Write images with these masks (arrays, or Pillow's images), as images/N.png and masks/N.png."""

    def make(*masks, suffix=".png", **settings):
        for i, mask in enumerate(masks):
            mask = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask, np.uint8))
            for folder in ("images", "masks"):
                (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo(*mask.size[::-1], seed=i)).save(tmp_path / "in" / "images" / f"{i}.png")
            mask.save(tmp_path / "in" / "masks" / f"{i}{suffix}", **settings)
        return tmp_path / "in"

    return make


def imported(source, *options):
    """Labels in the order of the masks, names of the classes, and the account's counts by kind."""
    labels, names, kinds = importing.imported(source, *options)
    return [labels[name].tolist() for name in sorted(labels)], names, kinds


FIGURE = ["background", "foreground"]


def bilevel(values):
    return Image.fromarray(np.array(values, np.uint8) * 255).convert("1")


def with_alpha(values):
    return Image.fromarray(
        np.stack([np.array(values, np.uint8), np.full((1, len(values[0])), 255, np.uint8)], 2)
    )


@pytest.mark.parametrize("figure", [1, 255])
@pytest.mark.parametrize("kind", [np.array, with_alpha, lambda values: np.stack([values] * 3, axis=2)])
def test_binary_masks(source, figure, kind):
    masks = [kind([[0, figure, 0]]), kind([[0, 0, 0]]), kind([[figure, figure, 0]])]
    labels, names, kinds = imported(source(*masks), "--binary")
    assert labels == [[[0, 1, 0]], [[0, 0, 0]], [[1, 1, 0]]] and names == FIGURE
    assert kinds == ({} if kind is np.array else {"grey": 3})


def test_names_of_figure_and_ground(source, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("plate\ncell\n")
    assert imported(source([[0, 1, 0]]), "--binary", "--names", tmp_path / "names.txt")[1] == ["plate", "cell"]
    (tmp_path / "target").rename(tmp_path / "first")
    (tmp_path / "names.txt").write_text("plate\ncell\nwall\n")
    text = refusal(tmp_path / "in", capsys, "--binary", "--names", tmp_path / "names.txt")
    assert "names 3 classes; expected the background and the figure" in text


def test_bilevel_masks(source):
    labels, names, _ = imported(source(bilevel([[0, 1, 0]]), bilevel([[1, 1, 0]])))
    assert labels == [[[0, 1, 0]], [[1, 1, 0]]] and names == ["class_0", "class_1"]


def test_masks_of_0_and_255_are_refused_with_the_way_out(source, capsys):
    folder = source([[0, 255, 0]], [[0, 0, 0]])
    assert "only the values 0 and 255, and 255 means that a pixel is ignored; --binary" in refusal(
        folder, capsys
    )
    assert imported(folder, "--binary")[0] == [[[0, 1, 0]], [[0, 0, 0]]]


def test_grey_levels_need_a_threshold(source, capsys):
    """CUB-200: how many of five annotators drew a pixel, times 51."""
    folder = source([[0, 51, 204, 255]], with_alpha([[0, 102, 153, 0]]))
    text = refusal(folder, capsys)
    assert "has the value 51, as 1 of 2 masks, far from the others (0, 51, 102, 153, 204)" in text
    assert "--threshold N" in text
    assert "--nearest: goes with colours" in refusal(folder, capsys, "--nearest", "3")
    assert "has the values 0, 51, 204, 255, and --binary takes" in refusal(folder, capsys, "--binary")
    assert imported(folder, "--threshold", "128")[0] == [[[0, 0, 1, 1]], [[0, 0, 1, 0]]]


def test_lossy_masks_need_a_threshold(source, capsys):
    mask = np.zeros((16, 32), np.uint8)
    mask[:, 16:] = 255
    folder = source(mask, suffix=".jpg")
    assert "saved as JPEG, with a loss" in refusal(folder, capsys, "--binary")
    assert imported(folder, "--threshold", "128")[0] == [(mask // 255).tolist()]


@pytest.mark.parametrize(
    ("masks", "names", "options", "labels", "classes"),
    [
        ([[0, 1, 2]], None, [], [0, 1, 2], "class_0 class_1 class_2"),
        ([[0, 1, 255]], None, [], [0, 1, 255], "class_0 class_1"),
        ([[0, 1, 2, 250]], None, ["--ignore", "250"], [0, 1, 2, 255], "class_0 class_1 class_2"),
        ([[0, 1, 2]], None, ["--ignore", "2"], [0, 1, 255], "class_0 class_1"),
        ([[0, 1, 2]], None, ["--ignore", "0"], [255, 0, 1], "class_1 class_2"),  # as ADE20K has it
        ([[0, 1, 2]], "road car void", ["--ignore", "void"], [0, 1, 255], "road car"),
        ([[0, 1, 11]], "road car", ["--ignore", "11"], [0, 1, 255], "road car"),
        ([[0, 1, 1]], "road car sky", [], [0, 1, 1], "road car sky"),
    ],
)
def test_class_numbers(source, masks, names, options, labels, classes):
    folder = source(masks)
    if names:
        (folder / "classes.txt").write_text(names.replace(" ", "\n"))
    assert imported(folder, *options)[:2] == ([[labels]], classes.split())


def test_unknown_numbers_are_refused(source, capsys, tmp_path):
    folder = source([[0, 1, 2]], [[0, 1, 7]], [[0, 7, 7]])
    (tmp_path / "names.txt").write_text("road\ncar\nsky\n")
    text = refusal(folder, capsys, "--names", tmp_path / "names.txt")
    assert (
        "masks/1.png: has the value 7, as 2 of 3 masks, but" in text and "names 3 classes; --ignore 7" in text
    )
    assert "no class is 'x'" in refusal(
        folder, capsys, "--names", tmp_path / "names.txt", "--ignore=7", "--ignore=x"
    )


def test_palettes_are_kept_if_they_agree(source, capsys, tmp_path):
    def with_palette(values, *colours):
        image = Image.fromarray(np.array([values], np.uint8))
        image.putpalette([channel for colour in colours for channel in colour])
        return image

    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    folder = source(with_palette([0, 1, 2], red, green, blue), with_palette([0, 1, 1], red, green))
    imported(folder)
    colours = load_label(tmp_path / "target" / "labels" / "0.png").colours[:3]
    assert colours.tolist() == [255, 255 * 256, 255 * 65536]
    (tmp_path / "target").rename(tmp_path / "first")
    folder = source(with_palette([0, 1, 2], red, green, blue), with_palette([0, 1, 1], red, blue))
    text = refusal(folder, capsys)
    assert "one number may mean several classes" in text and "--colors FILE" in text
    (tmp_path / "colors.csv").write_text("g,r,name,b\n0,255,red,0\n0,0,blue,255\n255,0,green,0\n")
    labels, names, _ = imported(folder, "--colors", tmp_path / "colors.csv")
    assert labels == [[[0, 2, 1]], [[0, 1, 1]]] and names == ["red", "blue", "green"]


def test_colours_without_a_map_are_refused(source, capsys):
    folder = source(np.array([[(1, 2, 3), (1, 2, 3), (9, 9, 9)]]))
    text = refusal(folder, capsys)
    assert "it has 2 colours: (1, 2, 3), (9, 9, 9)" in text and "name,r,g,b" in text


def test_transparent_colours_are_left_out(source, tmp_path):
    solid = np.array([[(0, 0, 0, 255), (9, 9, 9, 255)]], np.uint8)
    clear = solid.copy()
    clear[0, 0, 3] = 0
    folder = source(solid, clear)
    (folder / "colors.csv").write_text("name,r,g,b\na,0,0,0\nb,9,9,9\n")
    labels, _, kinds = imported(folder)
    assert labels == [[[0, 1]]] and kinds == {"unreadable": 1}


MAPS = {
    "CamVid": "64 128 64\tAnimal\n192 0 128\t\tTree house\n",
    "CVAT": "# label:color_rgb:parts:actions\nAnimal:64,128,64::\nTree house:192,0,128:a,b:c\n",
    "heading": "name, r, g, b\nAnimal, 64, 128, 64\nTree house, 192, 0, 128\n",
    "order": '"b";"Red";"GREEN";"class"\n64;64;128;"Animal"\n128;192;0;"Tree house"\n',
    "more": "id\tname\tred\tgreen\tblue\n7\tAnimal\t64\t128\t64\n9\tTree house\t192\t0\t128\n",
    "names first": "Animal,64,128,64\nTree house,192,0,128\n",
}


@pytest.mark.parametrize("kind", MAPS)
def test_maps_of_colours(source, kind):
    folder = source(np.array([[(192, 0, 128), (64, 128, 64)]]))
    (folder / "colors.txt").write_text(MAPS[kind])
    assert imported(folder)[:2] == ([[[1, 0]]], ["Animal", "Tree house"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,r,g,b\na,1,2,3\nb,1,2,3\n", "'a' and 'b' have one colour, (1, 2, 3)"),
        ("name,r,g,b\na,1,2,3\na,1,2,4\n", "names the class 'a' more than once"),
        ("name,r,g,b\na,1,2,300\n", "(1, 2, 300) of 'a' has a number above 255"),
        ("name,r,g,b\na,1,2\n", "not the colours of classes (line 'a,1,2')"),
        ("name,r,g,b\na,1,2,-3\n", "not the colours of classes"),
        ("name,r,g,b\na,1,2,x\n", "expected a CSV file with the heading name,r,g,b"),
        ("", "not the colours of classes"),
        ("road\ncar\n", "not the colours of classes (line 'road')"),
        ("name,r,g,b\n" + "".join(f"c{i},{i % 256},{i // 256},0\n" for i in range(256)), "has 256 classes"),
    ],
)
def test_other_maps_are_refused(source, tmp_path, capsys, text, said):
    folder = source(np.array([[(1, 2, 3), (1, 2, 4)]]))
    (tmp_path / "colors.csv").write_text(text)
    assert said in refusal(folder, capsys, "--colors", tmp_path / "colors.csv")


def test_two_maps_are_refused(source, capsys):
    folder = source(np.array([[(192, 0, 128), (64, 128, 64)]]))
    for name in ("a.txt", "b.csv"):
        (folder / name).write_text(MAPS["CamVid"])
    assert "a.txt, b.csv give colours of classes; --colors FILE" in refusal(folder, capsys)


def test_names_that_could_not_be_read_back_are_refused(source, capsys):
    folder = source(np.array([[(1, 2, 3), (1, 2, 4)]]))
    (folder / "colors.csv").write_text('name,r,g,b\n"a:b",1,2,3\n"c:d",1,2,4\n')
    assert "the names of the classes: is a table of 2 columns" in refusal(folder, capsys)
    assert "cannot be the name of a class" in refusal(folder, capsys, "--merge", "a:b=a\x1bb")
    assert imported(folder, "--merge", "a:b=ab")[1] == ["ab", "c:d"]


def test_masks_that_are_all_damaged_are_refused(source, capsys):
    folder = source([[0, 1]])
    (folder / "masks" / "0.png").write_bytes(b"x")
    assert "masks/0.png: not an image of a known format" in refusal(folder, capsys)


def test_images_that_training_does_not_read_need_tiles(source):
    folder = source(np.eye(12), np.eye(12))
    (folder / "images" / "0.png").rename(folder / "images" / "0.jp2")
    labels, _, kinds = imported(folder)
    assert len(labels) == 1 and kinds == {"other format": 1}
    (folder.parent / "target").rename(folder.parent / "first")
    labels, _, kinds = imported(folder, "--tiles", 8)
    assert len(labels) == 8 and kinds == {"tiled": 2}


def test_large_masks_are_left_out(source):
    folder = source(np.zeros((4, 4)), np.ones((6, 6)), np.eye(4))
    labels, _, kinds = imported(folder, "--max-pixels", "16")
    assert len(labels) == 2 and kinds == {"unreadable": 1}

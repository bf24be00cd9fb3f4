"""check-data says how rare each class is: its share of the pixels, and the images that have it."""

import numpy as np
import pytest
from PIL import Image

from fcnxs.data.check import check
from fcnxs.data.layouts import open_samples
from fcnxs.tools.main import main


@pytest.fixture
def pairs(tmp_path):
    """Three labels of 40x50: sky and road in all, 12 pixels of pole in one, a car in two; a row of 255."""
    labels = np.zeros((3, 40, 50), np.uint8)
    labels[:, 20:] = 1
    labels[0, :3, :4] = 2
    labels[1:, 30:, :20] = 3
    labels[2, 0] = 255
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number, label in enumerate(labels):
        Image.fromarray(label).save(tmp_path / "labels" / f"{number}.png")
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\npole\ncar\ntram\n")
    return tmp_path, labels


def test_rare_classes_are_named_with_their_share_and_images(pairs, capsys):
    folder, labels = pairs
    assert main(["check-data", str(folder)]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[2:] for line in out.splitlines() if line[:1].isdigit()}
    total = (labels != 255).sum()
    for number, name in enumerate(("sky", "road", "pole", "car", "tram")):
        pixels, images = (labels == number).sum(), (labels == number).any(axis=(1, 2)).sum()
        assert rows[name] == [str(pixels), f"{100 * pixels / total:.2f}%", str(images)]
    assert "1 class with less than 1% of the labelled pixels (`fcnxs finetune --class-weights auto`" in out
    assert f"  pole: {12 / total:.3%}, in 1 of 3 images\n" in out
    labels[0, :10, :30] = 2
    Image.fromarray(labels[0]).save(folder / "labels" / "0.png")
    assert main(["check-data", str(folder)]) == 0
    assert "less than 1%" not in capsys.readouterr().out


def test_counts_for_the_median_frequency_are_of_good_pairs_alone(pairs):
    folder, labels = pairs
    labels[1, 0, 0] = 77
    Image.fromarray(labels[1]).save(folder / "labels" / "1.png")
    found = check(open_samples(folder), 5)
    good = labels[[0, 2]]
    has = [(good == number).any(axis=(1, 2)) for number in range(5)]
    expected = [[(good == n).sum() for n in range(5)], [h.sum() for h in has], [2000 * h.sum() for h in has]]
    assert [number for number, _ in found.bad] == [1] and found.of_good.tolist() == expected

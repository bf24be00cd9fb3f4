"""Small data sets on disk, in the layouts of public ones."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (40, 50)


def write_image(file: Path, seed: int = 0, size=SIZE) -> Path:
    """A random picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(file)
    return file


def random_label(values, seed: int = 0, size=SIZE) -> np.ndarray:
    """Label, uint8, with all of the values."""
    rng = np.random.default_rng((seed, 1))
    label = rng.choice(list(values), size).astype(np.uint8)
    label.flat[: len(values)] = list(values)
    return label


def write_label(file: Path, label: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label).save(file)
    return file


def write_pairs(folder: Path, split: str, count: int, values=(0, 1, 255), first: int = 0, size=SIZE) -> None:
    """images/SPLIT/ and labels/SPLIT/."""
    for i in range(first, first + count):
        write_image(folder / "images" / split / f"p{i}.png", i, size)
        write_label(folder / "labels" / split / f"p{i}.png", random_label(values, i, size))


def _write_split(file: Path, stems) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{stem}\n" for stem in stems))


def voc(root: Path) -> None:
    folder = root / "VOC2012"
    for i, stem in enumerate("abcd"):
        write_image(folder / "JPEGImages" / f"{stem}.jpg", i)
        write_label(folder / "SegmentationClass" / f"{stem}.png", random_label([0, 1, 20, 255], i))
    write_image(folder / "JPEGImages" / "e.jpg", 9)
    lists = folder / "ImageSets" / "Segmentation"
    for split, stems in (("train", "ab"), ("val", "cd"), ("trainval", "abcd"), ("test", "e")):
        _write_split(lists / f"{split}.txt", stems)


def voc_aug(root: Path) -> None:
    folder = root / "VOCaug" / "dataset"
    for i, stem in enumerate("abcd"):
        write_image(folder / "img" / f"{stem}.jpg", i)
        (folder / "cls").mkdir(exist_ok=True)
        label = {"Segmentation": random_label([0, 1, 20], i), "Boundaries": np.zeros(3)}
        savemat(folder / "cls" / f"{stem}.mat", {"GTcls": label})
    for split, stems in (("train", "ab"), ("val", "cd"), ("trainval", "abcd")):
        _write_split(folder / f"{split}.txt", stems)


def ade20k(root: Path) -> None:
    folder = root / "ADEChallengeData2016"
    for part in ("training", "validation"):
        for i in range(3):
            stem = f"ADE_{part}_{i}"
            write_image(folder / "images" / part / f"{stem}.jpg", i)
            write_label(folder / "annotations" / part / f"{stem}.png", random_label([0, 1, 2, 150], i))


def citys(root: Path) -> None:
    for i, (split, city) in enumerate((("train", "bern"), ("train", "ulm"), ("val", "bonn"), ("val", "jena"))):
        stem = f"{city}_0000{i}_000019"
        write_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", i)
        label = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
        write_label(label, random_label(range(34), i))


def coco(root: Path) -> None:
    """Squares of persons (1), aeroplanes (5) and giraffes (25), not VOC's; one image has too few pixels."""
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        images, annotations = [], []
        for number in (3, 1, 2, 4):
            name, (height, width) = f"{split}_{number}.jpg", (80, 90)
            write_image(root / f"{split}2017" / name, number, (height, width))
            images.append({"id": number, "file_name": name, "height": height, "width": width})
            for left, category in ((5, 1), (25, 5), (30, 25), (35, 1)):
                right, bottom = (left + 8, 12) if number == 4 else (left + 35, 5 + 20 * number)
                polygon = [left, 5, right, 5, right, bottom, left, bottom]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category,
                        "segmentation": [polygon],
                        "area": (right - left) * (bottom - 5),
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": i, "name": str(i)} for i in (1, 5, 25)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def mhp(root: Path) -> None:
    """Two persons an image, who overlap."""
    names = []
    for i in range(4):
        names.append(f"{i:04d}.jpg")
        write_image(root / "images" / names[-1], i)
        for person in (1, 2):
            label = random_label([0, 0, 0, 1, 9, 18], 10 * i + person)
            write_label(root / "annotations" / f"{i:04d}_02_0{person}.png", label)
    (root / "train_list.txt").write_text("\n".join(names[:3]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[3:]) + "\n")


def bomb(side):
    """A PNG of 100 bytes that says it has so many rows and columns."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content

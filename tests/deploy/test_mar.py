"""The archive on the real server: multi-model-server, with Java, on the loopback."""

import io
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import FC, LONG, WIDTH, photo, random_params
from PIL import Image
from serving import running, save_exported

from fcnxs import checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.data.images import read_image
from fcnxs.deploy.mar import write_mar
from fcnxs.predict import Segmenter
from fcnxs.symbols.symbol_fcnxs import FCNXS

pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="multi-model-server needs Java")

CLASSES = 5
CLIENTS, REQUESTS, WARM_UP = (4, 1000, 300) if LONG else (4, 500, 200)
PHOTOS = os.environ.get("FCNXS_PHOTOS")  # a folder of photographs, for a net of a quarter of the width; minutes


def make(folder):
    """A narrow checkpoint and its archive `net.mar`."""
    symbol = FCNXS["fcn8s"](CLASSES, **({"width": 1 / 4, "fc": 1024} if PHOTOS else {"width": WIDTH, "fc": FC}))
    names, palette = [f"c{i}" for i in range(CLASSES)], [[50 * i, 255 - i, i] for i in range(CLASSES)]
    meta = Meta(names, palette, (120.0, 110.0, 100.0))
    checkpoint.save(folder / "fcn8s", 2, symbol, random_params(symbol, 8), {}, meta)
    source = checkpoint.load(folder / "fcn8s", 2)
    write_mar(save_exported(source, folder / "export" / "net"), folder / "net.mar")
    return source


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def good_files(number=24):
    """Files of as many sizes and of every kind that `fcnxs segment` takes."""
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    kinds = cycle(
        [
            lambda image: encoded(image, "PNG"),
            lambda image: encoded(image, "JPEG", quality=90),
            lambda image: encoded(image, "JPEG", quality=60, progressive=True),
            lambda image: encoded(image, "JPEG", exif=turned),
            lambda image: encoded(image.convert("RGBA"), "PNG"),
            lambda image: encoded(image.convert("L"), "JPEG"),
            lambda image: encoded(
                Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"
            ),
            lambda image: encoded(image.quantize(64), "PNG"),
            lambda image: encoded(image.convert("CMYK"), "JPEG"),
        ]
    )
    sizes = np.random.default_rng(5).permutation(number)
    images = [Image.fromarray(photo(30 + i, 40 + (7 * i) % 50, i)) for i in sizes]
    if PHOTOS:
        files = sorted(Path(PHOTOS).glob("*.jpg"))[:number]
        images = [Image.open(file).resize((480 - 7 * i, 360 - 11 * i)) for file, i in zip(files, sizes)]
    return [next(kinds)(image) for image in images]


def bad_requests():
    """Request body, content type, and the status of its answer."""
    jpeg, png = (encoded(Image.fromarray(photo(80, 60)), kind) for kind in ("JPEG", "PNG"))
    progressive = encoded(Image.fromarray(photo(80, 60)), "JPEG", progressive=True)
    return [
        (b"", "image/jpeg", 400),
        (b"what is in this picture?", "text/plain", 415),
        (b"\xff\xfe\x00not UTF-8", "text/plain; charset=utf-8", 415),
        (b'{"image": ', "application/json", 415),
        (encoded(Image.new("1", (12_000, 12_000)), "PNG"), "image/png", 413),
        (encoded(Image.new("1", (4_000, 1)), "PNG"), "image/png", 400),
        (bytes((16 << 20) + 1), "image/jpeg", 413),
        (jpeg[: len(jpeg) // 2], "image/jpeg", 400),
        (progressive[: len(progressive) * 3 // 4], "image/jpeg", 400),
        (png[: len(png) // 2], "image/png", 400),
        (jpeg[:30], "image/jpeg", 400),
        (encoded(Image.fromarray(photo()), "GIF"), "image/gif", 415),
        (encoded(Image.fromarray(photo()), "BMP"), "image/jpeg", 415),
        (encoded(Image.new("RGB", (12, 9)), "PNG"), "image/png", 400),
    ]


def wrong_with(server, request):
    """What is wrong with the answer to a request; None: nothing."""
    body, content_type, expected, as_json = request
    headers = {"Content-Type": content_type, **({"Accept": "application/json"} if as_json else {})}
    status, reason, kind, answer = server.send(body, headers)
    if isinstance(expected, int):
        in_words = reason if not answer else answer.decode()
        return None if status == expected and len(in_words.split()) > 2 else (status, expected, in_words)
    if status != 200:
        return status, reason, answer[:200]
    if as_json:
        areas = np.zeros(CLASSES, int)
        for row in json.loads(answer)["classes"]:
            areas[row["class"]] = row["pixels"]
        same = kind == "application/json" and np.array_equal(areas, np.bincount(expected.ravel(), minlength=5))
    else:
        image = Image.open(io.BytesIO(answer))
        same = kind == "image/png" and image.mode == "P" and np.array_equal(np.asarray(image), expected)
    return None if same else (kind, "is another class map")


def test_hundreds_of_requests(tmp_path):
    """From four clients: each is answered rightly, memory is flat, and SIGTERM to the script stops it."""
    segmenter = Segmenter(make(tmp_path))
    good = []
    for i, file in enumerate(good_files()):
        class_map = segmenter(read_image(io.BytesIO(file)))
        # Six times, then comes one of another size.
        good += [
            (file, "application/octet-stream", class_map, as_json) for as_json in (i % 2 == 0, *[False] * 5)
        ]
    good, bad = cycle(good), cycle((*each, False) for each in bad_requests())
    requests = [next(bad if i % 10 == 9 else good) for i in range(REQUESTS)]
    with running(tmp_path / "net.mar") as server, ThreadPoolExecutor(CLIENTS) as pool:
        processes, memory, began = server.processes(), [], time.time()
        for part in requests[:WARM_UP], requests[WARM_UP:]:
            answers = pool.map(lambda each: wrong_with(server, each), part)
            assert [wrong for wrong in answers if wrong] == []
            memory.append(server.memory())
            seconds, sizes = time.time() - began, megabytes(memory[-1])
            print(f"{len(part)} requests, {seconds:.0f} s; MB of Java and Python: {sizes}")
        assert server.processes() == processes  # no worker died and was replaced
        assert server.stop() == 143
        assert psutil.wait_procs(processes, timeout=300)[1] == []
        assert not server.listens() and not server.folder.exists()
    (java, python), (java_later, python_later) = memory
    assert python_later < 1.08 * python  # a narrow net's would grow by more if each request left 50 kB
    assert java_later < 1.3 * java


def megabytes(sizes):
    return ", ".join(f"{size / 1e6:.0f}" for size in sizes)

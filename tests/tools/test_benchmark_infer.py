"""The comparison of engines, narrow and small: what it computes and says, not how fast anything is."""

import argparse
import gc
import importlib.util
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from conftest import LOWER
from PIL import Image

from fcnxs.tools.benchmarks.infer import engines, measure, peers, process, results
from fcnxs.tools.benchmarks.infer.engines import ENGINES, processor
from fcnxs.tools.benchmarks.infer.ours import multiply, operations
from fcnxs.tools.benchmarks.infer.results import LeftOut, Measurements, Row, group_table, make_row
from fcnxs.tools.benchmarks.worker import Answer, in_turns
from fcnxs.tools.main import main

SIZE, NARROW = "50x43", {"width": 1 / 16, "fc": 16, "images": 2, "image_size": "50x43"}
CPUINFO = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse2 {}\nbugs\t: none\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the engines are given."""
    from fcnxs.tools.benchmarks.infer import ours

    root = tmp_path_factory.mktemp("benchmark")
    (root / "job.json").write_text(json.dumps(NARROW))
    (root / SIZE).mkdir()
    ours.images(root / SIZE)
    return root / SIZE


def test_a_processor_and_what_it_lacks(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO.format("avx512f avx512_vnni"))
    cpu = processor(file)
    assert cpu.name == "Some CPU @ 2 GHz" and cpu.lacks("fp32") == cpu.lacks("int8") == ""
    assert cpu.lacks("bf16") == "AVX512_BF16 or AMX_BF16"
    file.write_text("processor: 0\nFeatures: fp asimd\n")  # as ARM's are
    assert processor(file).name == "unknown" and processor(file).lacks("int8").startswith("AVX512_VNNI or ")


@pytest.mark.parametrize("precision", ["fp32", *LOWER])
def test_matrices_are_multiplied_in_every_precision(precision):
    run, count = multiply(precision, side=32)
    run()
    assert count == 32 * 32 * (32 + 32)  # each cell: 32 products, and their sum


def test_mxnet_starts_without_the_project_s_variables(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MXNET_CPU_TEMP_COPY", "1")
    by_default, all_cores, ours = map(engines.environment, ("mxnet-default", "mxnet", "fcnxs"))
    assert not {"OMP_NUM_THREADS", "MXNET_CPU_TEMP_COPY"}.intersection(by_default)
    assert "MXNET_CPU_TEMP_COPY" not in all_cores and ours["MXNET_CPU_TEMP_COPY"] == "1"
    assert all_cores["OMP_NUM_THREADS"] == ours["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))


def test_this_project_s_forms_and_the_original_give_the_class_map(folder):
    from fcnxs.tools.benchmarks.infer import ours

    classes = np.load(folder / "classes.npy")
    assert classes.shape == (1, 43, 50) and len(np.unique(classes)) > 2
    whole = operations(ours.load(folder.parent), (1, 3, 43, 50))
    assert json.loads((folder / "whole.json").read_text()) == {"operations": sum(whole.values())}
    untrimmed, trimmed = (getattr(ours, name)(folder, "fp32") for name in ("untrimmed", "trimmed"))
    scores = untrimmed().copy()
    assert scores.dtype == np.float32 and (scores.argmax(1) == classes).all()
    np.testing.assert_allclose(trimmed(), scores, atol=1e-5 * np.abs(scores).max())
    assert json.loads((folder / "trimmed.json").read_text())["operations"] < sum(whole.values())
    original = ours.original(folder, "fp32")
    probabilities = original()
    assert (probabilities.argmax(1) == classes).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_scores_outlive_their_executor(folder):
    """They are a view of its memory, which MXNet would give to others; the map of classes tells."""
    from fcnxs.tools.benchmarks.infer import ours

    scores = ours.untrimmed(folder, "fp32")()
    gc.collect()
    others = [ours.mx.nd.ones(scores.shape) * 7 for _ in range(20)]
    ours.mx.nd.waitall()
    assert len(others) == 20 and (scores.argmax(1) == np.load(folder / "classes.npy")).all()


@pytest.mark.parametrize("precision", LOWER)
def test_a_lower_precision_is_another_one_of_the_same_net(folder, precision):
    from fcnxs.tools.benchmarks.infer import ours

    scores = ours.untrimmed(folder, "fp32")().copy()
    error = np.abs(ours.untrimmed(folder, precision)() - scores).max() / np.abs(scores).max()
    assert 1e-4 < error < 0.5


# torch-compiled is the module that torch runs, compiled for a minute.
@pytest.mark.parametrize(
    "name", [name for name, each in ENGINES.items() if hasattr(peers, each.maker) and name != "torch-compiled"]
)
def test_other_engines_that_are_installed_compute_the_same_net(folder, name):
    if engines.missing(name, "fp32"):
        pytest.skip(f"{name} is not installed")
    from fcnxs.tools.benchmarks.infer import ours

    file = folder / ENGINES[name].file
    if not file.exists():
        ours.net_file(file)
    expected, run = ours.untrimmed(folder, "fp32")(), getattr(peers, ENGINES[name].maker)(file, "fp32")
    for _ in range(2):  # a second pass as well: some engines overwrite their input
        scores = run()
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=5e-5 * np.abs(expected).max())


def test_bfloat16_of_ncnn_is_another_precision_of_the_same_net(folder):
    pytest.importorskip("ncnn")
    from fcnxs.tools.benchmarks.infer import ours

    file = folder / "net.param"
    ours.net_file(file)
    scores = peers.ncnn(file, "fp32")().copy()
    error = np.abs(peers.ncnn(file, "bf16")() - scores).max() / np.abs(scores).max()
    assert 1e-4 < error < 0.1


def test_an_engine_that_fails_is_told_with_its_reason_and_the_others_go_on(folder, tmp_path):
    """OpenCV has no net.onnx here."""
    (tmp_path / SIZE).mkdir()
    for file in (
        *folder.parent.glob("*.*"),
        *(folder / name for name in ("image.npy", "classes.npy", "whole.json", "trimmed.json")),
    ):
        (tmp_path / file.relative_to(folder.parent)).symlink_to(file)
    args = argparse.Namespace(steps=1, image_size=SIZE)
    failures = {}
    workers = (measure._worker(args, name, "fp32", tmp_path / SIZE) for name in ("opencv", "fcnxs"))
    answers = in_turns(workers, args.steps, failures=failures)
    assert [*answers] == ["fcnxs"] and len(answers["fcnxs"]) == 1 and answers["fcnxs"][0].seconds > 0
    assert [*failures] == ["opencv"] and "net.onnx" in failures["opencv"] and "\n" not in failures["opencv"]
    row = make_row("fcnxs", "fp32", answers["fcnxs"], tmp_path / SIZE)
    assert (
        row.agreement == 1 and row.operations == json.loads((folder / "whole.json").read_text())["operations"]
    )


def rows(**seconds):
    return [
        Row(name.replace("_", "-"), "fp32", SIZE, "1.0", [median, median, 9.0], 1.5, 0.9, operations=10**9)
        for name, median in seconds.items()
    ]


def test_ratios_are_to_the_fastest_of_the_others_and_rates_to_the_matrix_rate(tmp_path):
    (tmp_path / "rate-fp32.json").write_text(json.dumps({"operations": 4 * 10**9}))
    measured = Measurements("Some CPU", 2, "FCN-8s", 3)
    measured.add(
        rows(fcnxs=0.5, mxnet=0.25, openvino=1.0, opencv=2.0), [Answer(2.0, 1, 1), Answer(1.0, 1, 1)], tmp_path
    )
    assert [row.ratio for row in measured.rows] == [2.0, 4.0, 1.0, 0.5]  # MXNet is none of the others
    assert measured.matrix_rates == {"fp32": 4e9} and [row.share for row in measured.rows] == [
        0.5,
        1.0,
        0.25,
        0.125,
    ]
    measured.add(rows(fcnxs=0.5), [Answer(4.0, 1, 1)], tmp_path)  # another size, alone, at a worse time
    assert measured.matrix_rates == {"fp32": 4e9} and measured.rows[-1].ratio is None
    lines = group_table(measured, measured.rows[:4]).splitlines()
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "MXNet, all cores",
        "fcnxs",
        "OpenVINO",
        "OpenCV DNN",
    ]
    assert lines[3].split() == ["fcnxs", "1.0", "0.500", "2.00", "1.50", "90.000%", "1.0", "2", "50%"]
    assert lines[6] == "the machine's matrix rate: 4 GFLOP/s"


def test_as_many_engines_take_turns_as_the_memory_holds(folder, monkeypatch):
    loading, running = process.memory_needed(folder)
    assert 2 * (loading - running) >= 5 * (folder.parent / "weights.safetensors").stat().st_size
    names = ["fcnxs-trimmed", "fcnxs", "ncnn", "mnn", "opencv"]
    for room, expected in ((5, [names]), (4.9, [names[:3], names[3:]]), (0.1, [[name] for name in names])):
        monkeypatch.setattr(measure, "available_memory", lambda room=room: loading + room * running)
        assert measure.groups(names, folder) == expected
    assert measure.groups([], folder) == [[]]


def test_one_table_in_markdown_has_every_size_and_precision():
    measured = Measurements("Some CPU", 2, "FCN-8s", 3, rows=rows(fcnxs=0.5, ncnn=0.25))
    measured.rows += [replace(row, size="9x9", agreement=0.995, ratio=2) for row in rows(fcnxs=0.125)]
    measured.rows += [replace(row, precision="bf16") for row in rows(ncnn_trimmed=0.1)]
    assert results.markdown(measured).splitlines() == [
        f"| precision | engine | {SIZE}, s | ratio | 9x9, s | ratio | same class |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| fp32 | ncnn 1.0 | 0.250 |  |  |  | 90.00% |",
        "| fp32 | fcnxs | 0.500 |  | 0.125 | 2.00 | 90.00% |",
        "| bf16 | ncnn 1.0, our trimmed export | 0.100 |  |  |  | 90.00% |",
    ]


def test_the_command_leaves_out_what_is_not_here_and_writes_the_rest(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    find, cpuinfo = importlib.util.find_spec, tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO.format("avx512f"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    monkeypatch.setattr(measure, "processor", lambda: processor(cpuinfo))
    command = ["benchmark", "infer", "--width", "0.0625", "--fc", "16", "--image-sizes", SIZE, "--steps", "1"]
    command += [
        "--engines",
        "fcnxs,openvino,opencv",
        "--precision",
        "fp32,bf16",
        "--output",
        str(tmp_path / "b"),
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.startswith("FCN-8s, width 0.0625, fc 16; Some CPU @ 2 GHz, ")
    assert "left out: OpenVINO, fp32, every size: openvino not installed (pip install '.[bench]'" in out
    assert "left out: every engine, bf16, every size: Some CPU @ 2 GHz has no AVX512_BF16 or AMX_BF16" in out
    written = json.loads((tmp_path / "b.json").read_text())
    assert {row["engine"]: row["agreement"] for row in written["rows"]} == {"fcnxs": 1, "opencv": 1}
    by_name = {row["engine"]: row for row in written["rows"]}
    assert by_name["fcnxs"]["ratio"] == by_name["opencv"]["median"] / by_name["fcnxs"]["median"]
    assert all(f"{row['median']:.3f}" in out and 0.01 < row["peak"] < 2 for row in written["rows"])
    assert [each["engine"] for each in written["left_out"]] == ["openvino", "every engine"]
    assert Image.open(tmp_path / "b.png").format == "PNG"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--image-sizes",
            "50x43,20x20",
            "--image-sizes 20x20: expected width x height in pixels, each from 26",
        ),
        ("--image-sizes", "500", "--image-sizes 500: expected width x height"),
        ("--precision", "fp32,fp16", "--precision fp16: expected some of fp32,bf16,int8"),
        ("--engines", "fcnxs,tvm", "--engines tvm: expected some of fcnxs-trimmed,fcnxs,mxnet"),
        ("--device", "gpu", "--device gpu: infer measures on the CPU; leave it out"),
        ("--output", f"{__file__}/b", f"--output {__file__}: cannot write in {__file__}"),
    ],
)
def test_a_mistake_is_one_line(option, value, message, capsys):
    assert main(["benchmark", "infer", option, value]) == 2
    assert capsys.readouterr().err.startswith(f"fcnxs: {message}")


def test_what_is_left_out_is_told_by_its_title():
    told = str(LeftOut("torch", "bf16", "it has run away", "50x43", failed=True))
    assert told == "PyTorch, bf16, 50x43: it has run away"

"""What the commands do with mistakes, damaged input and signals."""

import os
import signal
import subprocess
import sys
import time

import mxnet as mx
import numpy as np
import pytest
from conftest import finetune
from PIL import Image

from fcnxs import checkpoint
from fcnxs.tools.main import main
from fcnxs.vis import save_mask, voc_palette


def test_a_run_that_diverges_stops_and_names_the_image(run_folder, voc, tmp_path, capsys):
    arguments = finetune(voc, run_folder, "--output", str(tmp_path), "--lr", "1e9", "--epochs", "3")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "not finite" in err and "with a smaller --lr than 1e+09" in err and err.count("\n") == 1
    for file in tmp_path.glob("*.params"):  # those of epochs before it are whole
        assert all(np.isfinite(array.asnumpy()).all() for array in mx.nd.load(str(file)).values())


def test_a_loss_that_is_not_finite_on_validation_images_stops_the_run(run_folder, voc, tmp_path, capsys):
    """One step a stage at an absurd rate: a step's own loss is of the weights before it, and those are fine.

    FCN-32s survives it: while its scores are zero, nothing below them has a gradient.
    """
    name = (voc / "ImageSets/Segmentation/train.txt").read_text().split()[0]
    (tmp_path / "one.lst").write_text(f"0\t{voc}/JPEGImages/{name}.jpg\t{voc}/SegmentationClass/{name}.png\n")
    one = ["--data", str(tmp_path / "one.lst"), "--val", str(tmp_path / "one.lst"), "--epochs", "1"]
    one += ["--allow", "overlap"]
    assert main(finetune(voc, run_folder, *one, "--lr", "1e5", "--output", str(tmp_path / "run"))) == 2
    assert "fcn16s, epoch 1: the loss on the validation images is not finite" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "run").glob("*-0*1.params")] == ["fcn32s-0001.params"]


def test_labels_of_255_alone_stop_the_run(run_folder, voc, tmp_path, capsys):
    image = sorted((voc / "JPEGImages").glob("train_*.jpg"))[0]
    save_mask(tmp_path / "label.png", np.full(Image.open(image).size[::-1], 255), voc_palette())
    (tmp_path / "void.lst").write_text(f"0\t{image}\tlabel.png\n")
    void = ["--data", str(tmp_path / "void.lst"), "--output", str(tmp_path / "run")]
    assert main(finetune(voc, run_folder, *void)) == 2
    assert f"--data: {tmp_path}/label.png: every pixel of the labels is 255" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stages", "fcn64s"], "--stages fcn64s: expected some of fcn32s,fcn16s,fcn8s"),
        (["--stages", "fcn4s", "--recipe", "caffe"], "each once; --recipe mxnet or adam has them"),
        (["--stages", "fcn_alexnet"], "fcn_alexnet cannot start from vgg16, whose layers differ"),
        (["--stages", "fcn16s,fcn32s"], "fcn32s cannot start from fcn16s, whose layers differ"),
        (["--stages", "fcn8s,fcn8s"], "--stages fcn8s,fcn8s: expected"),
        (["--lr", "1e-3,1e-4"], "--lr 1e-3,1e-4: expected 1 or 3 numbers"),
        (["--lr", "fast"], "--lr fast: expected"),
        (["--lr", "nan"], "--lr nan: expected"),
        (["--epochs", "0"], "--epochs 0: expected"),
        (["--epochs", "1.5"], "--epochs 1.5: expected"),
        (["--momentum", "0.9"], "--momentum 0.9: the optimizer adam has none"),
        (["--momentum", "1.5", "--optimizer", "sgd"], "--momentum 1.5: expected a number from 0 to below 1"),
        (["--optimizer", "magic"], "--optimizer magic: expected one of adadelta"),
        (["--seed", "-1"], "--seed -1: expected"),
        (["--device", "gpu:99"], "--device gpu:99: MXNet sees"),
        (["--device", "x"], "--device x: expected cpu, gpu, or numbers from 0, as gpu:1 or gpu:0,1"),
        (["--num-classes", "5"], "--classes and --num-classes: give only one"),
        (["--split", "nix"], "nix.txt: no such file"),
        (["--val", "nix.lst"], "nix.lst: cannot read this list"),
        (["--val", "nix.lst", "--val-split", "val"], "--val-split val: nix.lst is no folder"),
        (["--prefix", "nix"], "nix-symbol.json: no such file"),
        (["--epoch", "7"], "vgg-0007.params: no such file"),
        (["--classes", "nix"], "--classes nix: cannot read it"),
        (["--cut-off-size", "0"], "--cut-off-size 0: expected"),
        (["--cut-off-size", "20"], ".jpg: 20x20 pixels is too small; the smallest for this net is 26x26"),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(more, message, run_folder, voc, tmp_path, capsys):
    arguments = [*finetune(voc, run_folder), *more, "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.err.startswith("fcnxs: ")
    assert not list(tmp_path.rglob("*.params")) and not list(tmp_path.rglob(".*"))


def test_more_mistakes(run_folder, voc, caffemodel, tmp_path, capsys):
    net = ["--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1"]
    vgg = ["--prefix", str(run_folder / "vgg"), "--epoch", "0"]
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "bad.caffemodel").write_bytes(caffemodel.read_bytes()[:5000])
    (tmp_path / "lst.lst").write_text("0\ta\tb\n")
    again = finetune(voc, run_folder, "--epochs", "1")
    for arguments, message in (
        (
            ["convert", str(tmp_path / "bad.caffemodel"), str(tmp_path / "o")],
            "bad.caffemodel: not a caffemodel, nor",
        ),
        (["convert", "nix", str(tmp_path / "o")], "nix: cannot read these weights: No such file"),
        (again, "fcn32s-0001.params exists already; choose another --output"),
        (
            ["evaluate", *net, "--data", str(voc), "--classes", str(tmp_path / "two.txt")],
            "two.txt: names 2 classes, but",
        ),
        (["evaluate", *net, "--data", str(tmp_path / "lst.lst"), "--split", "val"], "--split val:"),
        (["evaluate", *vgg, "--data", str(voc)], "ends in Activation 'relu7', not in one softmax"),
        (["evaluate", *net, "--data", str(tmp_path / "lst.lst")], "a: no such file"),
        (["export", *vgg, "--output", str(tmp_path / "o")], "ends in Activation 'relu7'"),
        (["demo", "--output", str(voc)], "exists and is not empty"),
        ([*again[:-1], "1", "--output", str(tmp_path / "two.txt" / "run")], "two.txt/run"),
    ):
        assert main(arguments) == 2, arguments
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("o*"))


def test_labels_out_of_range_stop_the_run_by_file_and_value(run_folder, voc, tmp_path, capsys):
    image = sorted((voc / "JPEGImages").glob("train_*.jpg"))[0]
    save_mask(tmp_path / "label.png", np.full(Image.open(image).size[::-1], 77), voc_palette())
    (tmp_path / "bad.lst").write_text(f"0\t{image}\tlabel.png\n")
    arguments = finetune(
        voc, run_folder, "--data", str(tmp_path / "bad.lst"), "--output", str(tmp_path / "run")
    )
    assert main(arguments) == 2
    assert "label.png: value 77 in" in capsys.readouterr().err


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in (["--fly"], ["evaluate"], ["convert", "a", "b", "c"], ["segment", "--epoch", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        err = capsys.readouterr().err
        assert ended.value.code == 2 and err.startswith("fcnxs: ") and err.count("\n") == 1


def test_segment_never_writes_over_an_image(run_folder, tmp_path, capsys):
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "photo.png")
    prefix = ["--prefix", str(run_folder / "run" / "fcn32s"), "--epoch", "2"]
    assert main(["segment", *prefix, str(tmp_path / "photo.png"), "--output", str(tmp_path)]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert Image.open(tmp_path / "photo.png").mode == "RGB" and len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_of_other_shapes_is_refused(run_folder, voc, tmp_path, capsys):
    source = checkpoint.load(run_folder / "run" / "fcn32s", 2)
    source.arg_params["fc7_bias"] = mx.nd.zeros((3,))
    checkpoint.save(tmp_path / "net", 0, source.symbol, source.arg_params, {}, source.meta)
    net, image = ["--prefix", str(tmp_path / "net"), "--epoch", "0"], str(voc / "JPEGImages" / "val_0000.jpg")
    for command in (
        ["segment", *net, image, "--output", str(tmp_path / "o")],
        ["export", *net, "--output", str(tmp_path / "o")],
        ["finetune", *net, "--data", str(voc), "--output", str(tmp_path / "o")],
    ):
        assert main(command) == 2
        assert (
            "net-0000.params: parameter fc7_bias is float32 (3,), but the net needs" in capsys.readouterr().err
        )
    assert not list(tmp_path.glob("o*"))


def test_nohup_is_respected(caffemodel, tmp_path):
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from fcnxs.tools.main import main; "
        f"code = main(['convert', {str(caffemodel)!r}, {str(tmp_path / 'vgg')!r}]); "
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("alive\n") and done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_128_and_its_number_and_leaves_whole_files(number, run_folder, voc, tmp_path):
    arguments = finetune(voc, run_folder, "--no-val", "--epochs", "500", "--output", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "fcnxs", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a shell's background jobs ignore SIGINT
    )
    deadline = time.time() + 600
    while not list(tmp_path.glob("fcn32s-0003.params")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert err.count("\n") == 1 and ("SIGTERM" in err or "interrupted" in err)
    assert not list(tmp_path.glob(".*"))
    for epoch in range(1, len(list(tmp_path.glob("*.params"))) + 1):
        assert len(checkpoint.load(tmp_path / "fcn32s", epoch).arg_params) == 33


def test_output_into_a_closed_pipe_is_no_traceback(caffemodel, tmp_path):
    command = f"{sys.executable} -m fcnxs convert {caffemodel} {tmp_path}/vgg | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ})
    assert "Traceback" not in done.stderr and done.returncode in (0, 128 + signal.SIGPIPE)


def test_without_a_command_the_help_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    captured = capsys.readouterr()
    assert ended.value.code == 0 and not captured.err
    assert captured.out.startswith("usage: fcnxs") and "train FCN-32s" in captured.out


@pytest.mark.parametrize(
    ("word", "command"),
    [
        *[("train", "finetune"), ("predict", "segment"), ("test", "evaluate"), ("fintune", "finetune")],
        *[("Segmnt", "segment"), ("check_data", "check-data"), ("eval", "evaluate"), ("infer", "segment")],
        *[("evalute", "evaluate"), ("exprot", "export"), ("helo", None), ("fly", None), ("", None)],
    ],
)
def test_a_word_that_is_no_command_is_answered_with_the_one_that_is_meant(word, command, capsys):
    assert main([word, "--data", "photos"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith(f"fcnxs: there is no command {word!r}; ")
    assert (f"did you mean `fcnxs {command}`" in err) if command else err.endswith("; see fcnxs --help\n")

"""What `fcnxs/README.md` says of the original example: every new name exists, no old one is left out."""

import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import symbols
from fcnxs.compat import mxnet as mx
from fcnxs.tools.main import COMMANDS, main, parse

HANDBOOK = Path(__file__).parent.parent / "fcnxs" / "README.md"
SECTION = re.search(
    r"^## From the original example to this one\n(.*?)(?=^## |\Z)",
    HANDBOOK.read_text(),
    re.DOTALL | re.MULTILINE,
)[1]
ROWS = [line.strip("| \n").split(" | ") for line in SECTION.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if row != ["original", "here"]]
NEW = sorted({span for row in ROWS for span in re.findall(r"`([^`]+)`", row[-1]) if span != "**kwargs"})

# The files of apache/mxnet 1.4.1 example/fcn-xs, their functions, classes, methods, arguments and options, and
# --gpu of 1.5.0; of the first version (b7e8bc25b1) those that it has alone.
ORIGINAL = {
    "data.py": "FileIter root_dir flist_name rgb_mean cut_off_size data_name label_name _read _read_img "
    "provide_data provide_label get_batch_size reset iter_next next cursor num_data batch_size getdata "
    "getlabel",
    "fcn_xs.py": "--model --prefix --epoch --init-type --retrain --gpu ctx fcnxs_model_prefix num_epoch "
    "learning_rate momentum wd numclass img_dir train_lst val_lst norm_stat",
    "image_segmentaion.py": "--input --output make_file_extension_assertion get_palette num_colors get_data "
    "img_path model_prefix getpallete img seg pallete model_previx",
    "init_fcnxs.py": "upsample_filt size init_from_vgg16 init_from_fcnxs ctx fcnxs_symbol vgg16fc_args "
    "vgg16fc_auxs fcnxs_args_from fcnxs_auxs_from init_fcn32s_params init_fcn16s_params "
    "init_fcn16s_params_from_fcn32s init_fcn8s_params init_fcn8s_params_from_fcn16s",
    "solver.py": "BatchEndParam Solver symbol ctx begin_epoch num_epoch arg_params aux_params optimizer fit "
    "train_data eval_data eval_metric grad_req epoch_end_callback batch_end_callback kvstore logger updater "
    "exector grad_params snapshot monitor",
    "symbol_fcnxs.py": "filter_map kernel stride pad compose_fp fp_first fp_second compose_fp_list fp_list "
    "inv_fp fp_in offset vgg16_pool3 vgg16_pool4 vgg16_score workspace_default input fcnxs_score crop "
    "get_fcn32s_symbol get_fcn16s_symbol get_fcn8s_symbol coord_map_fcn32s coord_map_fcn16s coord_map_fcn8s",
    "create_vgg16fc_model.py": "get_vgg16_symbol get_vgg16fc_symbol get_vgg16fc_arg_param",
    **dict.fromkeys(("run_fcnxs.sh", "run_fcn32s.sh", "run_fcn16s.sh", "run_fcn8s.sh"), ""),
    **dict.fromkeys(("fcn_32s.py", "fcn_16s.py", "fcn_8s.py"), ""),
}


def test_the_table_has_all_of_the_original():
    left = " ".join(span for row in ROWS for span in re.findall(r"`([^`]+)`", row[0]))
    words = {*re.findall(r"--[\w-]+|\w+", left)}
    assert len(ROWS) > 30 and all(len(row) == 2 for row in ROWS)
    for file, names in ORIGINAL.items():
        assert file in left or file[:-3] in words, file
        assert {*names.split()} <= words, file


@pytest.mark.parametrize("span", NEW)
def test_what_is_named_instead_exists(span):
    if span.startswith("fcnxs "):
        _, command, *words = shlex.split(span)
        assert command in COMMANDS
        options = {name for name in _options(command) for name in name}
        assert {word for word in words if word.startswith("-")} <= options
    else:
        path, _, arguments = span.rstrip(")").partition("(")
        assert path.startswith("fcnxs.")
        found = _named(path)
        if arguments:
            assert {*arguments.split(", ")} <= {*inspect.signature(found).parameters}


def _named(path):
    """What a dotted path names: a module, or an attribute of an attribute of one."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            assert ".".join(parts[:count]).startswith(error.name)
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise AssertionError(path)


def _options(command):
    """Option strings of a command's parser."""
    minimal = {
        "convert": ["SOURCE", "PREFIX"],
        "segment": ["--prefix", "a", "--epoch", "1", "--output", "b", "c"],
    }
    minimal["evaluate"] = ["--prefix", "a", "--epoch", "1", "--data", "b"]
    return [action.option_strings for action in parse([command, *minimal.get(command, [])]).parser._actions]


def test_old_checkpoints_and_lists_are_taken_as_they_are(voc, tmp_path, monkeypatch, capsys):
    """The table's commands on files as the original has them: no meta file, images among the parameters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_pascal").mkdir()
    (tmp_path / "VOC2012").mkdir()
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "VOC2012" / folder).symlink_to(voc / folder)
    for split in ("train", "val"):
        names = (voc / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()[:2]
        lines = [f"{n}\tJPEGImages/{name}.jpg\tSegmentationClass/{name}.png\n" for n, name in enumerate(names)]
        (tmp_path / "VOC2012" / f"{split}.lst").write_text("".join(lines))
    vgg = symbols.get_vgg16fc_symbol(width=WIDTH, fc=FC)
    mx.model.save_checkpoint("VGG_FC_ILSVRC_16_layers", 74, vgg, random_params(vgg), {})
    commands = [span for row in ROWS for span in re.findall(r"`(fcnxs [^`]*(?:VGG_FC|FCN32s_)[^`]*)`", row[-1])]
    data = ["--data", "VOC2012/train.lst", "--epochs", "1", "--recipe", "adam"]

    assert main([*commands[0].split()[1:], *data, "--output", "run", "--stages", "fcn32s"]) == 0
    symbol, args, auxs = mx.model.load_checkpoint("run/fcn32s", 1)
    args["data"], args["softmax_label"] = mx.nd.zeros((1, 3, 40, 40)), mx.nd.zeros((1, 1600))
    mx.model.save_checkpoint("model_pascal/FCN32s_VGG16", 31, symbol, args, auxs)
    assert main([*commands[1].split()[1:], *data, "--output", "run"]) == 0
    symbol, args, auxs = mx.model.load_checkpoint("run/fcn8s", 1)
    args["data"], args["softmax_label"] = mx.nd.zeros((1, 3, 40, 40)), mx.nd.zeros((1, 1600))
    mx.model.save_checkpoint("FCN8s_VGG16", 19, symbol, args, auxs)
    picture = str(next((voc / "JPEGImages").glob("val*.jpg")))
    assert main(["segment", "--prefix", "FCN8s_VGG16", "--epoch", "19", picture, "--output", "masks"]) == 0
    assert main(["evaluate", "--prefix", "FCN8s_VGG16", "--epoch", "19", "--data", "VOC2012/val.lst"]) == 0
    assert "aeroplane" in capsys.readouterr().out and len([*(tmp_path / "masks").iterdir()]) == 2

"""VGG-16 from the files of Gluon, GluonCV, torchvision and timm."""

import json
import sys
import zipfile

import numpy as np
import pytest
from conftest import FC, WIDTH, as_checkpoint, photo, random_vgg16
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.convert.arrays import VGG16_CONVOLUTIONS
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify
from fcnxs.data.images import preprocess
from fcnxs.net import Net, scores_of
from fcnxs.symbols import get_vgg16_symbol
from fcnxs.tools.main import main

FEATURES = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
GLUON = [*FEATURES, "features.31", "features.33", "output"]
TORCHVISION = [*FEATURES, "classifier.0", "classifier.3", "classifier.6"]
TIMM = [*FEATURES, "pre_logits.fc1", "pre_logits.fc2", "head.fc"]


def named(names, separator="."):
    """A narrow random VGG-16 for images of 0 to 1, normalised, RGB, by the names of a framework."""
    tensors = {}
    for name, (weight, bias) in zip(names, random_vgg16(4).values()):
        if name in ("pre_logits.fc1", "pre_logits.fc2"):
            weight = weight.reshape(FC, -1, *((7, 7) if name.endswith("fc1") else (1, 1)))
        tensors[f"{name}{separator}weight"], tensors[f"{name}{separator}bias"] = weight, bias
    return tensors


def write(file, tensors):
    if file.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(tensors, file)
    elif file.suffix == ".pth":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(values) for name, values in tensors.items()}, file)
    else:
        mx.nd.save(str(file), {name: mx.nd.array(values) for name, values in tensors.items()})
    return file


def float64_vgg16(tensors, image):
    """Scores of the 1000 classes, computed with OpenCV-free NumPy in float64 from an image of 0 to 255."""
    x = ((image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1)
    values = [*tensors.values()]
    for i, layer in enumerate(VGG16_CONVOLUTIONS):
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        x = np.einsum("chwij,ocij->ohw", windows, values[2 * i].astype(np.float64), optimize=True)
        x = np.maximum(x + values[2 * i + 1][:, None, None], 0)
        if layer in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            x = x.reshape(len(x), x.shape[1] // 2, 2, -1, 2).max((2, 4))
    x = x.reshape(-1)
    for i in (26, 28):
        x = np.maximum(values[i].reshape(FC, -1).astype(np.float64) @ x + values[i + 1], 0)
    return values[30].astype(np.float64) @ x + values[31]


@pytest.mark.parametrize(
    ("name", "names", "separator"),
    [
        ("gluon.params", GLUON, "."),
        ("gluoncv.params", [*(f"conv{i}" for i in range(13)), *(f"dense{i}" for i in range(3))], "_"),
        (
            "exported.params",
            [f"arg:vgg0_{n}{i}" for n, c in (("conv", 13), ("dense", 3)) for i in range(c)],
            "_",
        ),
        ("torchvision.safetensors", TORCHVISION, "."),
        ("timm.safetensors", TIMM, "."),
        ("torchvision.pth", TORCHVISION, "."),
    ],
)
def test_vgg_16_of_other_frameworks_gives_their_output(name, names, separator, tmp_path):
    """The input's scale is in conv1_1, the mean in the meta file; the other runtime normalises the image."""
    tensors = named(names, separator)
    file = write(tmp_path / name, tensors)
    vgg16 = read(file)
    assert vgg16.mean == (123.675, 116.28, 103.53)
    assert len(vgg16.fates) == 32 and sum(fate.parameter is None for fate in vgg16.fates) == 2
    image = photo(224, 224, seed=5)
    result = verify(file, vgg16, as_checkpoint(vgg16, file), image)
    assert result.runtime in ("Gluon", "PyTorch") and result.equal
    expected = float64_vgg16(tensors, image)
    scores = get_vgg16_symbol(7, width=WIDTH, fc=FC).get_internals()["fc8_output"]
    ours = scores_of(Net(scores, {**vgg16.arg_params, **vgg16.classifier}, {}), preprocess(image, vgg16.mean))
    np.testing.assert_allclose(ours.reshape(-1), expected, atol=1e-5 * np.abs(expected).max())


def test_gluon_s_own_vgg_16_file_is_read(tmp_path, capsys):
    """The model zoo's class, narrow in its convolutions alone; its file in both of Gluon's ways."""
    from mxnet.gluon.model_zoo.vision import VGG

    net = VGG([2, 2, 3, 3, 3], [4, 8, 16, 32, 32], classes=10)
    net.initialize(mx.init.Xavier(magnitude=2))
    image = photo(224, 224)
    normalised = (image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    theirs = net(mx.nd.array(normalised.transpose(2, 0, 1)[None])).asnumpy()
    net.save_parameters(str(tmp_path / "new.params"))
    net.collect_params().save(str(tmp_path / "old.params"), strip_prefix=net.prefix)
    Image.fromarray(image).save(tmp_path / "photo.png")
    for kind in ("new", "old"):
        file = tmp_path / f"{kind}.params"
        assert main(["convert", str(file), str(tmp_path / kind), "--verify", str(tmp_path / "photo.png")]) == 0
        assert "VGG-16 of width 0.0625 and fc 4096" in capsys.readouterr().out
        vgg16 = read(file)
        result = verify(file, vgg16, checkpoint.load(tmp_path / kind, 0), image)
        assert result.equal
        scores = get_vgg16_symbol(10, width=WIDTH).get_internals()["fc8_output"]
        ours = scores_of(
            Net(scores, {**vgg16.arg_params, **vgg16.classifier}, {}), preprocess(image, vgg16.mean)
        )
        np.testing.assert_allclose(ours[..., 0, 0], theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.params", lambda file: file.read_bytes()[:-9], "not a file of MXNet parameters, or damaged"),
        ("cut.safetensors", lambda file: file.read_bytes()[:-9], "not a safetensors file, or damaged"),
        ("cut.pth", lambda file: file.read_bytes()[:-900], "not the state dict of a PyTorch net, or damaged"),
        ("head.safetensors", lambda file: file.read_bytes()[:40], "not a safetensors file, or damaged"),
    ],
)
def test_damaged_files_of_other_frameworks_are_refused(name, content, message, tmp_path):
    if name == "cut.pth":
        pytest.importorskip("torch")
    file = write(tmp_path / name, named(TORCHVISION))
    file.write_bytes(content(file))
    with pytest.raises(FCNXSError, match=f"{name}: {message}"):
        read(file)


@pytest.mark.parametrize(("name", "names"), [("half.safetensors", TORCHVISION), ("half.params", GLUON)])
def test_half_a_classifier_is_dropped(name, names, tmp_path):
    tensors = named(names)
    del tensors[f"{names[-1]}.bias"]
    file = write(tmp_path / name, tensors)
    vgg16 = read(file)
    result = verify(file, vgg16, as_checkpoint(vgg16, file), photo())
    assert not vgg16.classifier and result.equal and result.shape == (1, FC, 1, 1)


def test_other_nets_of_other_frameworks_are_refused(tmp_path):
    tensors = named(TORCHVISION)
    bn = write(tmp_path / "bn.safetensors", {**tensors, "features.1.running_mean": np.zeros(4, np.float32)})
    with pytest.raises(FCNXSError, match="bn.safetensors: has batch normalisation"):
        read(bn)
    with pytest.raises(FCNXSError, match="neither VGG-16 nor one of the FCNs: its layers are layer1.0"):
        read(write(tmp_path / "resnet.safetensors", {"layer1.0.weight": np.zeros((3, 3), np.float32)}))
    with pytest.raises(FCNXSError, match="features.0.weight has type I8, and weights are read of"):
        read(write(tmp_path / "q.safetensors", {**tensors, "features.0.weight": np.zeros((3, 3), np.int8)}))
    mx.nd.save(str(tmp_path / "list.params"), [mx.nd.zeros(3)])
    with pytest.raises(FCNXSError, match="list.params: not a file of MXNet parameters"):
        read(tmp_path / "list.params")


def test_pth_without_pytorch_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "vgg.pth").write_bytes(b"PK\x03\x04" + bytes(20))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(FCNXSError, match=r"vgg.pth: PyTorch's format needs PyTorch: .* \.safetensors"):
        read(tmp_path / "vgg.pth")


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(FCNXSError, match="evil.pth: not the state dict"):
        read(tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("names", [TORCHVISION, TIMM])
def test_safetensors_are_verified_in_gluon_where_pytorch_is_not(names, tmp_path, monkeypatch):
    file = write(tmp_path / "vgg16.safetensors", named(names))
    monkeypatch.setitem(sys.modules, "torch", None)
    vgg16 = read(file)
    result = verify(file, vgg16, as_checkpoint(vgg16, file), photo())
    assert result.runtime == "Gluon" and result.equal


@pytest.mark.parametrize(
    ("kind", "bits"), [("F8_E4M3", 8), ("F8_E5M2", 8), ("F4", 4), ("BF16", 16), ("C64", 64)]
)
def test_types_of_safetensors_that_numpy_has_not(kind, bits, tmp_path):
    """Of a file written by hand; F8 and F4 are attributes that NumPy lacks."""
    header = {"features.0.weight": {"dtype": kind, "shape": [64 // bits], "data_offsets": [0, 8]}}
    text, file = json.dumps(header).encode(), tmp_path / "odd.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(
        FCNXSError, match=f"odd.safetensors: features.0.weight has type {kind}, and weights are"
    ):
        read(file)


def test_a_pth_that_would_unpack_to_gigabytes_is_refused(tmp_path):
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**8))
    assert file.stat().st_size < 200_000
    with pytest.raises(
        FCNXSError, match="bomb.pth: not the state dict .*: it would unpack to 100,000,000 bytes"
    ):
        read(file)

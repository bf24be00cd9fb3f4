"""What is not exported, and what a mismatch leaves behind: nothing."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from test_export import in_process, make, small_pictures  # noqa: F401

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.deploy import compare
from fcnxs.deploy.compare import ExportMismatch
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export
from fcnxs.predict import Segmenter
from fcnxs.symbols import get_vgg16fc_symbol


@in_process
def test_what_is_no_fcn_is_refused(tmp_path):
    trunk = get_vgg16fc_symbol(width=WIDTH, fc=FC)
    checkpoint.save(tmp_path / "vgg", 0, trunk, random_params(trunk), {}, Meta())
    with pytest.raises(FCNXSError, match="ends in Activation 'relu7', not in one softmax"):
        export(checkpoint.load(tmp_path / "vgg", 0), tmp_path / "out")
    source = make(tmp_path)
    missing = r"fcn8s-0002.params: parameter fc7_bias \(16,\) of the net is missing"
    del source.arg_params["fc7_bias"]
    with pytest.raises(FCNXSError, match=missing):
        export(source, tmp_path / "out")
    with pytest.raises(FCNXSError, match=missing):
        Segmenter(source)
    before = (tmp_path / "fcn8s-symbol.json").read_text()
    with pytest.raises(FCNXSError, match="fcn8s: the export would overwrite its source"):
        export(checkpoint.load(tmp_path / "fcn8s", 2), tmp_path / "fcn8s")
    assert (tmp_path / "fcn8s-symbol.json").read_text() == before
    assert not (tmp_path / "out-symbol.json").exists()


@in_process
def test_a_mismatch_leaves_everything_as_it_was(tmp_path, monkeypatch):
    source = make(tmp_path)
    export(source, tmp_path / "out" / "net")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    outputs_of = compare.outputs_of
    off = np.reshape([1, 0, 0], (3, 1, 1))
    monkeypatch.setattr(compare, "outputs_of", lambda *args: [each + off for each in outputs_of(*args)])
    with pytest.raises(ExportMismatch, match="differs from the checkpoint by .* on picture 1"):
        export(source, tmp_path / "out" / "net")
    with pytest.raises(ExportMismatch, match="of the pixels of picture 1"):
        export(source, tmp_path / "new" / "net", Form(head="argmax"))
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_an_export_that_does_not_run_by_itself_is_none(tmp_path, monkeypatch):
    """The new process is MXNet's alone: what it lacks, the export lacks."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mxnet.py").write_text("raise ImportError('no runtime here')")
    with pytest.raises(ExportMismatch, match="does not run in plain mxnet: ImportError: no runtime here"):
        export(make(tmp_path), tmp_path / "out" / "net")
    assert not (tmp_path / "out").exists()

"""JSON of others: what is not JSON or has another form is one line that names the file and the key."""

import json

import numpy as np
import pytest

from fcnxs import FCNXSError
from fcnxs.system.json_files import Null, Number, Or, checked, parse_json, read_json

FORM = {
    "name": str,
    "epoch": Number(int, 1, 9),
    "mean": (Number(float, -5, 5),) * 2,
    "kind": {"valid", "full"},
    "rows": [{"score": Null(Number(float, 0, 1))}],
    "counts": {str: Number(int, 0)},
    "flag": Or(bool, False),
}
GOOD = {
    **{"name": "x", "epoch": 3, "mean": [1, -2.5], "kind": "full", "rows": [{"score": 0.5}, {"score": None}]},
    **{"counts": {"a": 2**62}, "more": ["is kept"]},
}


def test_what_has_the_form_is_read_with_defaults(tmp_path):
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(GOOD), encoding="utf-8")
    assert read_json(tmp_path / "a.json", "a test", FORM) == {**GOOD, "flag": False}
    assert checked({}, Or({}, {})) == {} and checked(None, Null(str)) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", 3, "name: expected a text, not 3"),
        ("epoch", True, "epoch: expected a whole number from 1 to 9, not True"),
        ("epoch", 3.0, "epoch: expected a whole number from 1 to 9, not 3.0"),
        ("epoch", 10**30, "epoch: expected a whole number from 1 to 9, not 1000000000"),
        ("mean", [1], "mean: expected a list of 2, each a finite number from -5 to 5, not .1."),
        ("mean", [1, 1e30], r"mean\[1\]: expected a finite number from -5 to 5, not 1e\+30"),
        ("kind", ["full"], "kind: expected full or valid, not .'full'."),
        ("rows", {"score": 1}, "rows: expected a list, each an object, not {'score': 1}"),
        ("rows", [{"score": 2}], r"rows\[0\].score: expected a finite number from 0 to 1, not 2"),
        ("rows", [{}], r"it lacks rows\[0\].score"),
        ("counts", {"a\x1b[2J": -1}, r"counts.'a\\x1b\[2J': expected a whole number from 0, not -1"),
        ("flag", "yes", "flag: expected true or false, not 'yes'"),
        ("name", ["x" * 10**5] * 100, r"name: expected a text, not \[.{1,300}\]; do it anew$"),
        ("more", "\ud800", "it has the text '.ud800', with a character that no text has"),
        ("more", "\0", "it has the text '.x00'"),
    ],
)
def test_other_values_are_named_by_their_key(key, value, message, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({**GOOD, key: value}))
    with pytest.raises(FCNXSError, match=f"^{file}: not a test, or damaged: {message}"):
        read_json(file, "a test", FORM, "do it anew")


def test_names_of_files_that_are_not_utf_8_remain():
    assert parse_json(json.dumps("caf\udce9 \U0001f600")) == "caf\udce9 \U0001f600"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 70 + "]" * 70, "nested too deeply"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested too deeply"),
        ("9" * 5000, "a number of 5000 digits"),
        ("[NaN]", "has NaN"),
        ("-Infinity", "has -Infinity"),
        ("[1e999]", "a number that is too large"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_sensible_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_huge_files_are_not_read(tmp_path):
    """100 GB without a block on the disk."""
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(
        FCNXSError, match="a.json: cannot read a test: it has 100,000,000,000 bytes, and at most"
    ):
        read_json(tmp_path / "a.json", "a test")


def test_a_huge_whole_number_where_any_number_may_stand_is_one_that_numpy_takes():
    """Its functions refuse 10**30 as an object: `np.isnan` of a loss in metrics.jsonl was a traceback."""
    value = checked({"loss": 10**30, "epoch": 2**53}, {"loss": Number(), "epoch": Number(int)})
    assert np.isfinite(value["loss"]) and value == {"loss": 1e30, "epoch": 2**53}

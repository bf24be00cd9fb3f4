"""Which files of a prefix a command wrote, by the meta file beside them and the checksums in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict

from ..errors import FCNXSError
from ..system.files import sha256_of
from ..system.json_files import Or, read_json
from ..system.own import Rule

FORM = {"versions": {"fcnxs": str}, "source": Or({"file": str}), "checksums": Or({str: [str]}, {})}
OF_TRAINING = re.compile(r".*-\d{4,}\.params")  # a checkpoint that was trained was made from another one


def files_of(meta_file: Path, kind: str) -> Rule:
    """Rule for a meta file and the files that it names: they are results of the kind, and unchanged.

    Args:
        kind: "export" or "conversion": weights that were trained are neither, and a command that exports or
            converts does not replace them.
    """
    try:
        content = read_json(meta_file, "a meta file", FORM)
    except FCNXSError:
        return lambda file: False
    checksums = content["checksums"]

    def is_own(file: Path) -> bool:
        sums = checksums.get(file.name)
        unchanged = file == meta_file or not checksums or (bool(sums) and sha256_of(file) in sums)
        return _kind(content) == kind and unchanged  # the meta files of earlier versions have no checksums

    return is_own


def _kind(content: Dict[str, Any]) -> str | None:
    """What wrote a meta file, by its content; None if that is neither an export nor a conversion."""
    if "export" in content:
        return "export"
    source = (content["source"] or {}).get("file", "")
    return "conversion" if source and not OF_TRAINING.fullmatch(source) else None

"""The files of an export, and whether those that are there already are an earlier export's."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import List

from .. import mxnet_compat
from ..checkpoint.own import files_of
from ..system.own import refuse_strangers
from .mar import CONFIG, PACKAGE, SCRIPT

ENDS = {  # of the files that an export writes; except for mar, the last is the meta file
    "json": ("-symbol.json", "-0000.params", "-mxnet_compat.py", "-meta.json"),
    "onnx": (".onnx", ".json"),
    "ncnn": (".param", ".bin", "-ncnn.json"),
    "mar": (".mar", ".properties", "-server.sh"),
}
OLD_CONFIG = (
    "0d7c4aba0fe7b055c817fb1576578b9aba52cb8bf863d150eadd1325f00d3e73"  # SHA-256 of CONFIG in earlier versions
)


def refuse_to_replace(prefix: str, form: str, overwrite: bool) -> None:
    """Refuse to write an export over files that no export wrote, such as trained weights, or changed ones.

    Args:
        form: "json", "onnx", "ncnn" or "mar".
        overwrite: whether --overwrite was given.

    Raises:
        FCNXSError: there is such a file.
    """
    files: List[Path] = [Path(f"{prefix}{end}") for end in ENDS[form]]
    of_meta = files_of(files[-1], "export")
    if form == "mar":
        refuse_strangers(files, overwrite, _is_of_server)
    else:
        refuse_strangers(files, overwrite, lambda file: _is_compat(file) or of_meta(file))


def _is_compat(file: Path) -> bool:
    """Whether a file is a copy of `mxnet_compat.py`, of any version."""
    with open(mxnet_compat.__file__, "rb") as ours, file.open("rb") as stream:
        return file.suffix == ".py" and stream.readline() == ours.readline()


def _is_of_server(file: Path) -> bool:
    """Whether a file is an archive of ours, or one of the two texts beside it, which nobody has changed."""
    if file.suffix == ".mar":
        try:
            with zipfile.ZipFile(file) as archive:
                return f"{PACKAGE}/deploy/handler.py" in archive.namelist()
        except Exception:  # damaged archives raise errors of many types
            return False
    text, name = file.read_bytes(), file.stem
    if file.suffix == ".sh":
        return text == SCRIPT.format(name=name[: -len("-server")]).encode()
    old = re.sub(rb"\b%b\.(?=properties|mar)" % re.escape(name.encode()), b"{name}.", text)
    return text == CONFIG.format(name=name).encode() or hashlib.sha256(old).hexdigest() == OLD_CONFIG

"""Files that are whole or absent: written beside, flushed to disk, renamed; and their checksums."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List

from .compat import mxnet as mx
from .digest import sha256_of
from .errors import FCNXSError, last_line
from .mxnet_params import check_whole

__all__ = ["BESIDE", "last_line", "sha256_of", "write_arrays", "write_json", "written_whole"]

BESIDE = ".fcnxs-"  # how folders of files that are being written are called


@contextmanager
def written_whole(*files: Path) -> Iterator[List[Path]]:
    """Give a temporary path for each file, all of one folder; when the block succeeds, they move there.

    When the block fails, or is interrupted, nothing has changed. The temporary paths have the files'
    names, in a folder beside them; they are flushed to disk, and take their places in the order given, by
    one rename for each: who finds the last one finds all.

    Raises:
        FCNXSError: a file cannot be written.
    """
    folder = files[0].parent
    for file in files:
        if file.is_dir() or not file.name:
            raise FCNXSError(f"{file}: cannot write: it is a folder")
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=BESIDE, dir=folder) as beside:
            parts = [Path(beside) / file.name for file in files]
            yield parts
            for part in parts:
                _flush(part)
            for part, file in zip(parts, files):
                os.replace(part, file)
            _flush(folder)
        made = []
    except OSError as error:
        raise FCNXSError(f"{files[-1]}: cannot write: {last_line(error)}") from None
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def write_arrays(file: Path, arrays: Dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays, of any shapes, in MXNet's format.

    Raises:
        OSError: they cannot be written, to the last byte: MXNet does not tell of a disk that gets full.
    """
    try:
        mx.nd.save(str(file), arrays)
        check_whole(file)
    except (mx.MXNetError, FCNXSError):
        raise OSError("it was not written to its end; is the disk full?") from None


def write_json(file: Path, content: Any) -> None:  # noqa: ANN401  (whatever JSON takes)
    """Write indented JSON; NaN is refused."""
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

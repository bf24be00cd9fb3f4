"""Checkpoints: PREFIX-symbol.json, PREFIX-NNNN.params in MXNet's format, and PREFIX-meta.json."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Callable, Collection, Dict, List

from ..compat import mxnet as mx
from ..epoch_choice import hint
from ..errors import FCNXSError, FCNXSWarning, last_line
from ..net import Params
from ..symbols import legacy
from ..symbols.graph.nodes import Graph
from ..system.files import refuse_irregular, sha256_of, write_json, written_whole
from .meta import Meta, read_meta, versions
from .params_file import headers, load_arrays, usable, write_arrays

LARGEST_SYMBOL = 32 << 20  # bytes of a symbol JSON: three times those of 20,000 nodes


@dataclass
class Checkpoint:
    """A net with its parameters. `meta_found` is False where there was no meta file to read.

    Parameters of float16 and float64 become float32.

    Raises:
        FCNXSError: a parameter has a value that is not finite, or of float64 that is not one of float32.
    """

    symbol: mx.sym.Symbol
    arg_params: Params
    aux_params: Params
    meta: Meta
    params_file: Path
    meta_found: bool = True

    def __post_init__(self) -> None:
        self.params_file = Path(self.params_file)
        self.arg_params = usable(self.arg_params, self.params_file)
        self.aux_params = usable(self.aux_params, self.params_file)


def load(
    prefix: str | os.PathLike[str],
    epoch: int,
    ctx: mx.Context | None = None,
    mapped: bool = False,
    digest: Future | None = None,
    pooling_convention: str | None = None,
    strict: bool = True,
    operators: Collection[str] = (),
) -> Checkpoint:
    """Read a checkpoint. One without a meta file is the original example's, and gets the original's mean.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=2, name="score")
    >>> params = {"score_weight": mx.nd.ones((2, 3, 1, 1)), "score_bias": mx.nd.zeros(2)}
    >>> save(f"{folder.name}/net", 3, net, params, {}, Meta(mean=(100, 110, 120))).name
    'net-0003.params'
    >>> load(f"{folder.name}/net", 3).meta.mean
    (100.0, 110.0, 120.0)
    >>> folder.cleanup()

    The original's solver saved the net's inputs among the parameters; they are left out. Symbols of 2015 and
    2016 are read as they were meant (`symbols/legacy.py`).

    Args:
        mapped: map the file of parameters instead of copying it into memory (see `load_params`).
        digest: SHA-256 of the file of parameters, if a thread computes it already.
        pooling_convention: rounding of the pooled sizes, 'full' (up) or 'valid' (down), of a symbol of 2016
            that does not say it. None: up, with an `FCNXSWarning`.
        strict: refuse another `pooling_convention` than the symbol's; else the symbol's counts.
        operators: MXNet's names of operators that the symbol may have besides those that are always allowed
            (`symbols/graph/operators.py`). Some of MXNet's run code that the file gives: add one only if you
            trust the file.

    Raises:
        FCNXSError: a file is missing, cannot be read, or its checksum differs from the meta file's; the symbol
            says another pooling convention; or as `Checkpoint` and `Meta`.
    """
    prefix = os.fspath(prefix)
    symbol_file, params_file = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-{epoch:04d}.params")
    for file in (symbol_file, params_file):
        refuse_irregular(file)
        if not file.is_file():
            of = f"of checkpoint {prefix}, epoch {epoch}"
            raise FCNXSError(f"{file}: no such file ({of}){hint(prefix, file)}")
    meta_file = Path(f"{prefix}-meta.json")
    meta = read_meta(meta_file) if meta_file.exists() else None
    _graph(_text(symbol_file), symbol_file)  # which says more than a checksum
    headers(params_file)
    for file in (symbol_file, params_file):
        if meta and file.name in meta.checksums:
            own = digest.result() if digest is not None and file == params_file else sha256_of(file)
            if own not in meta.checksums[file.name]:
                raise FCNXSError(
                    f"{file}: damaged, or changed since it was written: its checksum differs from "
                    f"the one in {meta_file} (if it was changed on purpose, remove the meta file)"
                )
    reading = read_symbol(symbol_file, pooling_convention, strict, operators)
    if reading.open:
        warnings.warn(f"{symbol_file}: {legacy.OPEN}", FCNXSWarning)
    params = load_arrays(params_file, ctx, mapped)
    arg_params, aux_params = ({reading.names.get(key, key): x for key, x in each.items()} for each in params)
    return Checkpoint(reading.symbol, arg_params, aux_params, meta or Meta(), params_file, meta is not None)


def read_symbol(
    file: Path, pooling_convention: str | None = None, strict: bool = True, operators: Collection[str] = ()
) -> legacy.Reading:
    """Read a symbol JSON, one of 2015 or 2016 as it was meant; further arguments as for `load`.

    Raises:
        FCNXSError: as `load_symbol`; or the symbol says another pooling convention.
    """
    symbol, graph = load_symbol(file, operators), _graph(_text(file), file)
    try:
        return legacy.read(symbol, graph, pooling_convention, strict)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: {error}") from None


def load_symbol(file: Path, operators: Collection[str] = ()) -> mx.sym.Symbol:
    """Read a symbol JSON, which MXNet sees only after `symbols/graph/trust.py` has checked it.

    Args:
        operators: operators that it may have besides those that are always allowed, as for `load`.

    Raises:
        FCNXSError: the file is no symbol JSON, or has operators, inputs or settings that are refused.
    """
    try:
        return legacy.load(_text(file), operators)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: {error}") from None


def _text(file: Path) -> str:
    """Text of a symbol JSON."""
    refuse_irregular(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_SYMBOL + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = "it is not text" if isinstance(error, UnicodeDecodeError) else last_line(error)
        raise FCNXSError(f"{file}: not a symbol JSON: {what}") from None
    if len(content) > LARGEST_SYMBOL:
        raise FCNXSError(f"{file}: not a symbol JSON: it has more than {LARGEST_SYMBOL >> 20} MB")
    return text


def _graph(text: str, file: Path) -> Graph:
    try:
        return Graph.read(text)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: {error}") from None


def save(
    prefix: str | os.PathLike[str],
    epoch: int,
    symbol: mx.sym.Symbol,
    arg_params: Params,
    aux_params: Params,
    meta: Meta,
    check: Callable[[Path], dict | None] | None = None,
) -> Path:
    """Write all three files of a checkpoint, or none; return the path of the parameters.

    Args:
        check: called with the prefix of the new files before they are moved to their places. If it raises,
            nothing changes; the entries of the dict that it returns are added to the meta file.

    Raises:
        FCNXSError: the files cannot be written, or the prefix belongs to another net, of which there are
            parameters of other epochs. Old files are then unchanged.
    """
    prefix = os.fspath(prefix)
    params_file = Path(f"{prefix}-{epoch:04d}.params")
    _refuse_to_orphan(prefix, params_file, symbol)
    arrays = {f"arg:{name}": array for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array for name, array in aux_params.items()})
    symbol_file, meta_file = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-meta.json")
    files = (meta_file, symbol_file, params_file)
    with written_whole(*files, prefix=Path(prefix)) as (meta_part, symbol_part, params_part):
        write_arrays(params_part, arrays)
        symbol_part.write_text(_text_of(symbol), encoding="utf-8")
        checksums = _checksums(meta_file, symbol_part, params_part)
        content = asdict(replace(meta, versions=versions(), checksums=checksums))
        write_json(meta_part, content)
        if check is not None:
            more = check(params_part.parent / Path(prefix).name)
            write_json(meta_part, {**content, **(more or {})})
    return params_file


def _text_of(symbol: mx.sym.Symbol) -> str:
    """JSON of a symbol, including the casts of a net in bfloat16, which MXNet omits by default."""
    return symbol.tojson(remove_amp_cast=False)


def _checksums(meta_file: Path, *parts: Path) -> Dict[str, List[str]]:
    """Checksums of the new and the old files, since the meta file is replaced a moment before the others."""
    old: Dict[str, List[str]] = {}
    with suppress(FCNXSError):
        old = read_meta(meta_file).checksums
    there = {name: sums for name, sums in old.items() if (meta_file.parent / name).is_file()}
    for part in parts:
        now = meta_file.parent / part.name
        there[part.name] = [sha256_of(part), *([sha256_of(now)] if part.name in there else [])]
    return there


def _refuse_to_orphan(prefix: str, params_file: Path, symbol: mx.sym.Symbol) -> None:
    """Refuse the prefix of another net, whose parameters would lose their symbol."""
    name = Path(prefix).name
    if not name or prefix.endswith(os.sep):
        raise FCNXSError(f"{prefix!r}: not a prefix; give a folder and a name, such as {prefix}net")
    others = [file for file in Path(prefix).parent.glob("*.params") if file.name.rpartition("-")[0] == name]
    others = sorted(file for file in others if file.name != params_file.name)
    symbol_file = Path(f"{prefix}-symbol.json")
    if others and symbol_file.is_file() and symbol_file.read_text(errors="replace") != _text_of(symbol):
        raise FCNXSError(f"{symbol_file}: belongs to another net, with {others[0].name}; choose another prefix")

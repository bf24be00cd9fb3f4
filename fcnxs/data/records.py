"""RecordIO, MXNet's format of large data sets: the pairs of a data set in one file, and an index beside it.

A record has an image, its label and a name. `mx.recordio.MXIndexedRecordIO` reads it, and for a record `item`

    header, content = mx.recordio.unpack(item)
    image, label = content[: header.id], content[header.id : header.id + header.id2]

are the bytes of two files, and the rest is the image's name. If a sample has further images, a byte of 0, their
kinds and lengths (`hha 4711`, with commas), another 0 and the bytes of their files follow the name. Source of
the format: dmlc-core include/dmlc/recordio.h; its `read` is not safe for several threads, so that files are
read here.
"""

from __future__ import annotations

import os
import re
import struct
import weakref
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

from ..conventions import PathLike
from ..errors import FCNXSError, printable, reason
from ..system.files import read_text, refuse_irregular

SUFFIX = ".rec"
MAGIC = struct.pack("<I", 0xCED7230A)
FRAME = struct.Struct("<4sI")  # before each part: the magic number; 3 bits of its kind, 29 of its length
WHOLE, FIRST, MIDDLE, LAST = range(4)  # kinds; content with the magic number in it is cut there
HEADER = struct.Struct("<IfQQ")  # mx.recordio.IRHeader: flag, label, id, id2
LINE = re.compile(r"(\d{1,18})\t(\d{1,18})", re.ASCII)  # of an index
MOST_PARTS = 1000
LONGEST_NAME = 8192  # bytes, with the kinds and lengths of further images
FURTHER = re.compile(r"([a-z]+) (\d{1,9})", re.ASCII)


class Record(NamedTuple):
    """Where a record lies, and its name.

    Attributes:
        parts: first byte and length of each part.
        length, image, label: lengths of its content, of the image and the label.
        name: name of the image.
        more: kind of each further image, and its first byte and end in the content.
    """

    parts: List[Tuple[int, int]]
    length: int
    image: int = 0
    label: int = 0
    name: str = ""
    more: Tuple[Tuple[str, int, int], ...] = ()


class Records:
    """The pairs of a RecordIO file, in the order of the index; any number of threads may read them.

    Attributes:
        names: names of the images.
        kinds: kinds of the images of each record.

    Raises:
        FCNXSError: the file or its index is missing, damaged, cut off, or not of `fcnxs pack`.
    """

    def __init__(self, file: PathLike) -> None:
        self.file, self.index = Path(file), Path(file).with_suffix(".idx")
        refuse_irregular(self.file)
        if not self.file.exists():
            raise FCNXSError(f"{self.file}: no such file")
        places = _places(self.index)
        try:
            self._stream = open(self.file, "rb", buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._stream.close)
            self._size = os.fstat(self._stream.fileno()).st_size
            found = {place: self._record(place) for place in sorted(places)}
            self._refuse_gaps(found)
            self._records = [found[place] for place in places]
            self.names = [record.name for record in self._records]
            kinds = {tuple(kind for kind, _, _ in record.more) for record in self._records}
            if len(kinds) > 1:
                raise ValueError("its records have images of different kinds")
            self.kinds = kinds.pop()
        except (OSError, ValueError) as error:
            raise self._damaged(reason(error)) from None

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._records)

    def read(self, number: int) -> Tuple[bytes, ...]:
        """Bytes of the files of the images and the label.

        Raises:
            FCNXSError: they cannot be read.
        """
        record = self._records[number]
        try:
            content = self._content(record)
        except (OSError, ValueError) as error:
            raise self._damaged(reason(error)) from None
        end = HEADER.size + record.image
        more = [content[first:last] for _, first, last in record.more]
        return (content[HEADER.size : end], *more, content[end : end + record.label])

    def _damaged(self, why: str) -> FCNXSError:
        way_out = f"`fcnxs pack` writes it and {self.index.name} anew"
        return FCNXSError(f"{self.file}: not a RecordIO file of `fcnxs pack`, or damaged: {why}; {way_out}")

    def _bytes(self, start: int, length: int) -> bytes:
        content = os.pread(self._stream.fileno(), length, start) if start + length <= self._size else b""
        if len(content) < length:
            raise ValueError("it is cut off")
        return content

    def _record(self, place: int) -> Record:
        """The record at a place of which only frames and header are read."""
        parts: List[Tuple[int, int]] = []
        start = place
        while not parts or kind in (FIRST, MIDDLE):  # noqa: F821  (set in the first round)
            mark, number = FRAME.unpack(self._bytes(start, FRAME.size))
            kind, length = number >> 29, number & (1 << 29) - 1
            if mark != MAGIC or kind not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)) or start % 4:
                raise ValueError(f"there is no record at byte {place}")
            if start + FRAME.size + length > self._size:
                raise ValueError("it is cut off")
            parts.append((start + FRAME.size, length))
            start += FRAME.size + (length + 3 & ~3)
            if len(parts) > MOST_PARTS:
                raise ValueError(f"the record at byte {place} has more than {MOST_PARTS} parts")
        length = sum(length for _, length in parts) + len(MAGIC) * (len(parts) - 1)
        record = Record(parts, length)
        _, _, image, label = HEADER.unpack(self._slice(record, 0, HEADER.size))
        if not 0 < HEADER.size + image + label < length:
            raise ValueError(f"the record at byte {place} has no image, label and name")
        return self._with_name(record._replace(image=image, label=label))

    def _refuse_gaps(self, found: Dict[int, Record]) -> None:
        """Refuse bytes that are in no record, as behind an index that is cut off."""
        end = 0
        for place, record in found.items():
            if place != end:
                raise ValueError(f"{self.index.name} names no record for bytes {end} to {place}")
            start, length = record.parts[-1]
            end = start + (length + 3 & ~3)
        if end > self._size:
            raise ValueError("it is cut off")
        if end < self._size:
            raise ValueError(f"{self.index.name} names no record for bytes {end} to {self._size}")

    def _with_name(self, record: Record) -> Record:
        """The record with its name, and with the places of its further images."""
        start = HEADER.size + record.image + record.label
        content = self._slice(record, start, min(record.length, start + LONGEST_NAME))
        first, *more = content.split(b"\0", 2)
        further = more[0].decode("utf-8", "replace") if more else ""
        try:
            name = first.decode("utf-8", "surrogateescape")
            os.fsencode(name)
        except UnicodeError:
            name = ""
        found = [FURTHER.fullmatch(text) for text in further.split(",")] if more else []
        if not name or ".." in PurePosixPath(name).parts or not all(found) or len(more) == 1:
            raise ValueError(f"{printable(content)!r:.80} is no name of an image")
        place, places = start + len(content) - len(more[-1]) if more else record.length, []
        for match in found:
            places.append((match[1], place, place + int(match[2])))
            place = places[-1][2]
        if place != record.length:
            raise ValueError(f"the images of {printable(name)!r:.80} do not fill its record")
        return record._replace(name=name, more=tuple(places))

    def _slice(self, record: Record, start: int, stop: int) -> bytes:
        """Bytes of a record's content; of one in several parts all of it is read."""
        if len(record.parts) > 1:
            return self._content(record)[start:stop]
        if stop > record.length:
            raise ValueError("a record is too short")
        return self._bytes(record.parts[0][0] + start, stop - start)

    def _content(self, record: Record) -> bytes:
        return MAGIC.join(self._bytes(start, length) for start, length in record.parts)


def _places(index: Path) -> List[int]:
    """First bytes of all records, in the order of the index's keys."""
    places: Dict[int, int] = {}
    for number, line in enumerate(read_text(index, "this index of a RecordIO file").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None or int(match[1]) in places:
            why = "is not NUMBER <tab> BYTE" if match is None else f"names record {match[1]} again"
            raise FCNXSError(f"{index}, line {number}: {why}; `fcnxs pack` writes the index anew")
        places[int(match[1])] = int(match[2])
    if not places or len({*places.values()}) < len(places):
        why = "names one place twice" if places else "is empty"
        raise FCNXSError(f"{index}: {why}; `fcnxs pack` writes the index anew")
    return [places[key] for key in sorted(places)]


def write_records(
    file: Path,
    index: Path,
    pairs: Iterator[Tuple[str, bytes, bytes, Dict[str, bytes]]],
    on_progress: Callable[[], object],
) -> None:
    """Write names, images, labels, and further images by their kinds, each the bytes of a file, as RecordIO.

    Raises:
        OSError: they cannot be written, to the last byte: MXNet does not tell of a disk that gets full.
        FCNXSError: a pair has more bytes than a record can have.
    """
    from ..compat import mxnet as mx

    try:
        writer = mx.recordio.MXIndexedRecordIO(str(index), str(file), "w")
        for number, (name, image, label, more) in enumerate(pairs):
            header = mx.recordio.IRHeader(0, 0.0, len(image), len(label))
            content = image + label + name.encode("utf-8", "surrogateescape")
            if more:
                further = ",".join(f"{kind} {len(each)}" for kind, each in more.items())
                content += b"\0%s\0%s" % (further.encode(), b"".join(more.values()))
            if HEADER.size + len(content) >= 1 << 29:
                raise FCNXSError(f"{name}: image and label have {len(content):,} bytes, too many for a record")
            writer.write_idx(number, mx.recordio.pack(header, content))
            on_progress()
        writer.close()
        Records(file)
    except mx.MXNetError as error:
        raise OSError(reason(error)) from None

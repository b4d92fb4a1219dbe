"""Images from CSV files of any origin, within little more memory than the images need."""
from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

COLUMNS = 785
ROWS = 10_000                   # at a time
LONGEST_LINE = 2**14            # characters; a usual one has at most 4,000, and a header 10,000
MOST_LINES = 1_000_000
MOST_BYTES = 2**33              # of an archive after decompression, that are passed over
MOST_MEMBERS = 1_000            # of an archive
LARGEST_HEADER = 2**20          # of a member, bytes
UNREADABLE = (UnicodeDecodeError, EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
              RuntimeError)     # zipfile's of members that are encrypted
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open,
                                       ".xz": lzma.open, ".txz": lzma.open}


def read_rows(path: Path, member: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 784) uint8 and labels (n,) int64 from a CSV file, of an archive the one that `member` names.

    Raise ValueError for other content.
    """
    try:
        with _opened(path, member) as stream:
            parts = [_checked(lines, path) for lines in _parts(stream, path)]
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as CSV ({error}): give a file with one label and 784 pixels "
                         f"per line.") from error
    if not parts:
        raise ValueError(f"{path} must hold at least one image, got no rows.")
    data, target = (np.concatenate(values) for values in zip(*parts, strict=True))
    return data, target


@contextlib.contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """The bytes of a CSV file that may be compressed or lie in an archive. Nothing is unpacked to the disk."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(_csv_member(archive.namelist(), member, path)))
            return
        stream = stack.enter_context(OPEN.get(path.suffix, open)(path, "rb"))
        if path.suffix in (".tar", ".tgz", ".tbz2", ".txz") or path.suffixes[-2:-1] == [".tar"]:
            tar = stack.enter_context(tarfile.open(fileobj=Bounded(stream, path), mode="r:"))
            name = _csv_member((info.name for info in tar if info.isfile()), member, path)
            found = tar.extractfile(name)
            if found is None:
                raise ValueError(f"{path} must hold its table as a file, but {name} is none.")
            stream = stack.enter_context(found)
        yield stream


def _csv_member(names: Iterable[str], member: str | None, path: Path) -> str:
    names = list(islice(names, MOST_MEMBERS + 1))
    if len(names) > MOST_MEMBERS:
        raise ValueError(f"{path} must hold at most {MOST_MEMBERS:,} files.")
    found = [name for name in names if name.endswith(".csv")]
    if member is None and len(found) == 1:
        return found[0]
    if member in found:
        return member
    wanted = "exactly one CSV file, or member= must name one" if member is None else f"the member {member!r}"
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    raise ValueError(f"{path} must hold {wanted}; it holds {sorted(found)[:10] or 'none'}{more}.")


class Bounded(io.RawIOBase):
    """The bytes of an archive for tarfile, which itself would read headers and pass over members of any length."""

    def __init__(self, stream: IO[bytes], path: Path):
        self.stream, self.path = stream, path

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset > MOST_BYTES:
            raise ValueError(f"{self.path} must hold at most {MOST_BYTES:,} bytes when it is decompressed.")
        return self.stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise ValueError(f"{self.path} must have headers of at most {LARGEST_HEADER:,} bytes, got {size:,}.")
        return self.stream.read(size)


def _parts(stream: IO[bytes], path: Path) -> Iterator[list[str]]:
    """The lines without a header and without blank ones, some thousands at a time."""
    text, lines = io.TextIOWrapper(stream, encoding="utf-8-sig"), []
    for number in count(1):
        line = text.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE or number > MOST_LINES:
            raise ValueError(f"{path} must have at most {MOST_LINES:,} lines of at most {LONGEST_LINE:,} characters.")
        if line and not line.isspace():
            if line.count(",") + 1 != COLUMNS:
                raise ValueError(f"{path} must have {COLUMNS} columns of integers (label, 784 pixels), got "
                                 f"{line.count(',') + 1} in line {number}: {line.strip()[:40]!r}.")
            if number > 1 or not _is_header(line):
                lines.append(line)
        if len(lines) == ROWS or (lines and not line):
            yield lines
            lines = []
        if not line:
            break


def _is_header(line: str) -> bool:
    """Whether a line begins with a column's name."""
    name = line.partition(",")[0].strip().strip('"')
    try:
        float(name)                             # such as nan
    except ValueError:
        return name.isidentifier()
    return False


def _checked(lines: list[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of some rows."""
    text = "".join(lines).replace("\0", "?")            # pandas before 3.1 reads "3\0" as 3
    table = pd.read_csv(io.StringIO(text), header=None, quoting=csv.QUOTE_NONE, low_memory=False)
    if wrong := [i for i, kind in enumerate(table.dtypes) if kind.kind not in "iu"]:
        is_none = pd.to_numeric(table[wrong[0]], errors="coerce") % 1 != 0          # so is a missing one
        value = lines[int(is_none.to_numpy().argmax())].split(",")[wrong[0]].strip()
        raise ValueError(f"{path} must have {COLUMNS} columns of integers (label, 784 pixels), got {value[:40]!r} in "
                         f"column {wrong[0] + 1}.")
    labels, pixels = table[0], table.iloc[:, 1:]
    low, high = pixels.min(axis=None), pixels.max(axis=None)
    if low < 0 or high > 255:
        raise ValueError(f"{path} must hold pixels from 0 to 255, got {low} to {high}.")
    if labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{path} must hold labels of 64 bits, got {labels.max()}.")
    return pixels.to_numpy(dtype=np.uint8), labels.to_numpy(dtype=np.int64)

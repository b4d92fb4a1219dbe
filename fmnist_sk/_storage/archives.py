"""The table in a file that may be compressed or an archive, read without unpacking anything to disk."""
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
from itertools import islice
from pathlib import Path
from typing import IO, Any

GROWTH, SMALL = 12, 2**24       # a file may grow to 12 times its length, plus 16 MiB: digits compress to a tenth
MOST_MEMBERS = 1_000            # of an archive
LARGEST_HEADER = 2**11          # of a member, bytes; Python 3.11 reads them in quadratic time
LARGEST_HEADERS = 2**21         # of all members together
UNREADABLE = (UnicodeDecodeError, EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
              csv.Error, OverflowError,
              MemoryError,      # from dictionaries of any size
              RuntimeError)     # zipfile's for encrypted members
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open,
                                       ".xz": lzma.open, ".txz": lzma.open}


@contextlib.contextmanager
def opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """The bytes of a CSV file that may be compressed or in an archive. Nothing is unpacked to disk."""
    suffixes = [suffix.lower() for suffix in ("", *path.suffixes)]
    is_zip = suffixes[-1] == ".zip"
    is_tar = suffixes[-1] in (".tar", ".tgz", ".tbz2", ".txz") or suffixes[-2:-1] == [".tar"]
    if member is not None and not is_zip and not is_tar:
        raise ValueError(f"member must be None unless path is an archive, got member={member!r} for {path}.")
    with contextlib.ExitStack() as stack:
        if is_zip:
            archive = stack.enter_context(zipfile.ZipFile(path))
            stream = Bounded(stack.enter_context(archive.open(_csv_member(archive.namelist(), member, path))), path)
        else:
            stream = Bounded(stack.enter_context(OPEN.get(suffixes[-1], open)(path, "rb")), path)
        if is_tar:
            stream.left, stream.most_at_once = LARGEST_HEADERS, LARGEST_HEADER
            tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))
            name = _csv_member((info.name for info in tar if info.isfile() and not info.issparse()), member, path)
            stream.left = stream.most_at_once = None
            found = tar.extractfile(name)
            if found is None:
                raise ValueError(f"{path} must hold its table as a file, but {name} is not a file.")
            yield stack.enter_context(found)
            return
        yield io.BufferedReader(stream)


def _csv_member(names: Iterable[str], member: str | None, path: Path) -> str:
    names = list(islice(names, MOST_MEMBERS + 1))
    if len(names) > MOST_MEMBERS:
        raise ValueError(f"{path} must hold at most {MOST_MEMBERS:,} files.")
    found = [name for name in names if name.lower().endswith(".csv")]
    if member is None and len(found) == 1:
        return found[0]
    if member in found:
        return member
    wanted = "exactly one CSV file, or member= must name one" if member is None else f"the member {member!r}"
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    raise ValueError(f"{path} must hold {wanted}; it holds {sorted(found)[:10] or 'none'}{more}.")


class Bounded(io.RawIOBase):
    """The bytes of a file after decompression, which must not make it much longer.

    `left` and `most_at_once` limit the bytes that can be read, in total and in one call: tarfile would read headers of
    any length and number.
    """

    left: int | None = None
    most_at_once: int | None = None

    def __init__(self, stream: IO[bytes], path: Path):
        self.stream, self.path = stream, path
        self.most = GROWTH * path.stat().st_size + SMALL

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check(offset)
        return self.stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if self.most_at_once is not None and not 0 <= size <= self.most_at_once:
            raise ValueError(f"{self.path} must have headers of at most {self.most_at_once:,} bytes, got {size:,}.")
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise ValueError(f"{self.path} must have headers of at most {LARGEST_HEADERS:,} bytes in all.")
        data = self.stream.read(size)
        self._check(self.stream.tell())
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def _check(self, position: int) -> None:
        if position > self.most:
            raise ValueError(f"{self.path} must hold at most {self.most:,} bytes when it is decompressed, which are "
                             f"{GROWTH} times its size, plus {SMALL:,}.")

"""The table in a file that may be compressed or an archive, read without unpacking anything to the disk."""
from __future__ import annotations

import bz2
import contextlib
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

MOST_BYTES = 2**33              # of an archive after decompression, that are passed over
MOST_MEMBERS = 1_000            # of an archive
LARGEST_HEADER = 2**20          # of a member, bytes
UNREADABLE = (UnicodeDecodeError, EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
              RuntimeError)     # zipfile's of members that are encrypted
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open,
                                       ".xz": lzma.open, ".txz": lzma.open}


@contextlib.contextmanager
def opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
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

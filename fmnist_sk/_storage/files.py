"""Files that are written completely or not at all, and tensors read without running code."""
from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import pickletools
import re
import stat
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

# Names in the pickles of torch.save, if they hold only tensors and plain values.
TENSORS = re.compile(r"collections OrderedDict|torch._utils _rebuild_(tensor|tensor_v2|parameter)|torch \w+Storage")

MOST_CODES = 500_000            # of such a pickle: a tensor takes some 20
KEPT = 50           # characters of a file's name kept in its part's name, which must not be too long


def expanded(path: Any, name: str = "path") -> Path:
    """A user's path with ~ and ~user expanded. Raise TypeError or ValueError naming `name` for other values."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a string or a pathlib.Path, got {name}={path!r}.")
    try:
        with contextlib.suppress(OSError):
            os.lstat(path)
    except ValueError as error:                     # null bytes, and what has no encoding
        raise ValueError(f"{name} must be a valid file name, got {name}={path!r}: {error}.") from error
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name} must be in the home folder of an existing user, got {name}={path!r}.") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces `path` when the context ends, and is removed if the context raises an error.

    It is written beside `path`, or beside the target of a symbolic link, and moved into place on disk, so that whenever
    the process is killed, either the old or the new file is complete. The old file's mode is kept. Parts left by killed
    processes are removed, except on Windows. Raises ValueError for anything but a file, such as a device.
    """
    try:
        path = path.resolve()
    except RuntimeError as error:                   # circular links
        raise ValueError(f"path must lead to a file, but {str(path)!r} is a circular link.") from error
    if path.exists():
        check_is_regular(path)
    for left in leftovers(path):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)
    partial, file = _begin(path)
    try:
        with file:
            if path.exists():
                partial.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            if _locking() is None:
                file.close()                        # Windows moves no open file; elsewhere the lock still protects it
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _begin(path: Path) -> tuple[Path, IO[bytes]]:
    """A new part of a file, locked; another process may have removed an earlier one as a leftover."""
    while True:
        partial = path.with_name(f".{path.name[:KEPT]}.{uuid.uuid4().hex}.part")
        file = open(partial, "wb")                  # noqa: SIM115  # closed by the caller
        if hold(file) and partial.exists():
            return partial, file
        file.close()
        partial.unlink(missing_ok=True)


def _locking() -> Any:
    """The module that locks files; None on Windows, which has none."""
    with contextlib.suppress(ImportError):
        import fcntl
        return fcntl
    return None


def hold(file: IO[bytes]) -> bool:
    """Lock a file until it is closed or its process ends. False if another process holds it; True without locks."""
    fcntl = _locking()
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def leftovers(path: Path) -> Iterator[Path]:
    """The parts of a file left by killed processes, each locked; not those that are being written.

    None without locks, which alone tell the two apart.
    """
    if _locking() is None:
        return
    for part in path.parent.glob(f".{glob.escape(path.name[:KEPT])}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(part.lstat().st_mode):
                with open(part, "rb") as file:
                    if hold(file):
                        yield part


def check_is_regular(path: Path) -> None:
    """Raise ValueError for pipes and devices, which may never end, and for folders."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"path must name a file, but {str(path)!r} is a folder, a pipe or a device.")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file completely or not at all. OSErrors name `path`."""
    if path.is_dir():
        raise IsADirectoryError(f"path must name a file, but {str(path)!r} is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must be in an existing folder, got {str(path)!r}.")
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:                        # its file name is the part's, or missing
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def check_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError unless the members of an archive of `size` bytes are stored without compression.

    Compressed members can become thousands of times larger. PyTorch does not compress them.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(
            member.file_size for member in members) > size:
        raise ValueError("its parts would grow when they are read.")


def read_tensors(path: Path) -> Any:
    """The content of a file that torch.save wrote; nothing in it is run. Other files can raise any error."""
    if path.exists() and not path.is_file():                        # reading a pipe would block
        raise ValueError("it is not a file.")
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            return torch.load(_checked_copy(file), map_location="cpu", weights_only=True)
        file.seek(0)
        with contextlib.suppress(tarfile.HeaderError):              # PyTorch would read it as that
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
            raise ValueError("it is a tar archive.")
        file.seek(0)                                                # the format before PyTorch 1.6
        for part in ("magic number", "protocol", "system", "tensors", "keys"):
            _check_pickle(file, path.stat().st_size if part == "tensors" else None)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _checked_copy(file: IO[bytes]) -> io.BytesIO:
    """A copy of a torch.save archive as read by Python; PyTorch may read it differently, and without checksums."""
    copy, size = io.BytesIO(), file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as checked:
        check_stored(archive, size)
        if len(set(archive.namelist())) < len(archive.namelist()):
            raise ValueError("it holds two parts with the same name.")
        for name in archive.namelist():
            part = archive.read(name)
            if name.endswith(".pkl"):
                _check_pickle(io.BytesIO(part))
            checked.writestr(name, part)
    copy.seek(0)
    return copy


def _check_pickle(stream: IO[bytes], most: int | None = None) -> None:
    """Raise ValueError for a pickle of anything but tensors, dicts, lists, numbers and strings.

    PyTorch would run code that can take any time or memory, such as codecs and bytearray(n). With `most`, no number may
    be larger: PyTorch allocates memory of these sizes (bytes) before it reads any.
    """
    for n_codes, (code, value, _) in enumerate(pickletools.genops(stream)):
        if n_codes > MOST_CODES:
            raise ValueError(f"it has more than {MOST_CODES:,} instructions.")
        if code.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4") or (
                code.name == "GLOBAL" and not TENSORS.fullmatch(str(value))):
            raise ValueError(f"it holds {value or code.name}, which is not part of tensors.")
        if most is not None and isinstance(value, int) and abs(value) > most:
            raise ValueError(f"it holds the number {value}, but only {most} bytes.")

"""Files that are written whole or not at all, and packages that only extras bring."""
from __future__ import annotations

import contextlib
import importlib
import os
import uuid
import zipfile
from pathlib import Path
from types import ModuleType

import torch


def as_path(path) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a text or a pathlib.Path, got path={path!r}.")
    return Path(path)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file at once: whenever the process is killed, the old or the new one is there and whole."""
    if path.is_dir():
        raise IsADirectoryError(f"path must name a file, but {str(path)!r} is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in a folder that exists, got {str(path)!r}.")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def check_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError unless the members of an archive of this size (bytes) lie in it as they are.

    Compressed ones may be thousands of times larger. Neither PyTorch nor skops compresses.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(
            member.file_size for member in members) > size:
        raise ValueError("its parts would grow when they are read.")


def read_tensors(path: Path):
    """What torch.save wrote, without code. Raises OSError, and anything else for other files."""
    if path.exists() and not path.is_file():                        # a pipe would be waited for
        raise ValueError("it is no file.")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_stored(archive, path.stat().st_size)
            if (part := archive.testzip()) is not None:         # PyTorch does not look at its checksums
                raise ValueError(f"its part {part} is damaged.")
    return torch.load(path, map_location="cpu", weights_only=True)


def optional(name: str, what: str, extra: str) -> ModuleType:
    """The module `name`; where it is missing, an ImportError that names the extra: "<what> <package>: pip install"."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        package = {"cv2": "OpenCV", "PIL": "Pillow", "skimage": "scikit-image"}.get(top, top)
        raise ImportError(f"{what} {package}: pip install 'fmnist_sk[{extra}]'.") from error

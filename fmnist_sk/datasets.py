"""Fashion-MNIST: found on this machine, or downloaded once; always verified.

70,000 grayscale images of 28 x 28 pixels in ten classes of clothing (Xiao, Rasul and Vollgraf, 2017,
https://arxiv.org/abs/1708.07747; MIT licence, Zalando SE).
"""
from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from sklearn.utils import Bunch

from fmnist_sk._data.bunch import CLASS_NAMES, as_bunch
from fmnist_sk._storage.download import DownloadError, download
from fmnist_sk._storage.files import expanded
from fmnist_sk._storage.idx import decompressed
from fmnist_sk.loaders import load_csv as load_csv

FEATURE_NAMES = tuple(f"pixel_{row}_{column}" for row in range(28) for column in range(28))
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")      # Debian's package dataset-fashion-mnist
ADDRESSES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)


class _File(NamedTuple):
    """One IDX file: its name, the length of its header, its total size in bytes, its SHA-256.

    Size and checksum refer to the decompressed content, so that recompressed copies are recognised.
    """

    name: str
    header: int
    size: int
    sha256: str


FILES = {
    "train": (
        _File("train-images-idx3-ubyte", 16, 47_040_016,
              "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        _File("train-labels-idx1-ubyte", 8, 60_008,
              "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ),
    "test": (
        _File("t10k-images-idx3-ubyte", 16, 7_840_016,
              "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        _File("t10k-labels-idx1-ubyte", 8, 10_008,
              "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
}

DESCR = """\
Fashion-MNIST
-------------
70,000 images of clothing from Zalando's catalogue, 28 x 28 pixels, one channel, values 0 (background) to 255:
60,000 for training and 10,000 for testing, every class equally often.

    Classes            10: """ + ", ".join(CLASS_NAMES) + """
    Samples per class  6,000 (train), 1,000 (test)
    Dimensionality     784
    Features           integers 0-255

Source: Han Xiao, Kashif Rasul and Roland Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms, 2017, https://arxiv.org/abs/1708.07747. Licence: MIT, copyright 2017 Zalando SE. This is the data
as corrected on 31 August 2017 (duplicates between train and test removed).
"""


@overload
def load_fashion_mnist(subset: str = "train", *, data_home: str | os.PathLike | None = None,
                       return_X_y: Literal[False] = False, as_frame: bool = False, download_if_missing: bool = True
                       ) -> Bunch: ...
@overload
def load_fashion_mnist(subset: str = "train", *, data_home: str | os.PathLike | None = None, return_X_y: Literal[True],
                       as_frame: bool = False, download_if_missing: bool = True) -> tuple[Any, Any]: ...
def load_fashion_mnist(subset: str = "train", *, data_home: str | os.PathLike | None = None,
                       return_X_y: bool = False, as_frame: bool = False, download_if_missing: bool = True
                       ) -> Bunch | tuple:
    """Load Fashion-MNIST.

    The four gzipped or plain IDX files are searched for in `data_home`, in the folder named by the environment variable
    ``FMNIST_SK_DATA``, in the folder of Debian's package ``dataset-fashion-mnist`` and in the user's cache
    (``$XDG_CACHE_HOME/fmnist_sk``, by default ``~/.cache/fmnist_sk``). Files that are in none of them are downloaded
    from the official addresses into `data_home` if it is given, else into ``FMNIST_SK_DATA`` if that is set, else into
    the cache. Parallel processes download them only once. The decompressed content is always checked against its
    SHA-256.

    Parameters
    ----------
    subset : {"train", "test", "all"}
        60,000 training images, 10,000 test images, or the training images followed by the test images.
    data_home : path, optional
        A folder to look in first, and to download to.
    return_X_y : bool
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool
        Return data as DataFrame, target as Series, and both together as `frame`.
    download_if_missing : bool
        If False, raise FileNotFoundError instead of downloading.

    Returns
    -------
    Bunch, or tuple of data and target
        With data, (n, 784) uint8 from 0 to 255; images, (n, 28, 28); target, (n,) int64 from 0 to 9; target_names;
        feature_names; DESCR; frame, None unless `as_frame`.

    Raises
    ------
    FileNotFoundError
        The data are in none of the folders and could not be downloaded; the message lists folders and remedies.
    ValueError
        A file is truncated or not Fashion-MNIST's; one found in the cache is removed.

    Examples
    --------
    >>> from fmnist_sk import load_fashion_mnist
    >>> train = load_fashion_mnist("train")                 # doctest: +SKIP
    >>> train.images.shape, train.target.shape              # doctest: +SKIP
    ((60000, 28, 28), (60000,))
    """
    if not isinstance(subset, str) or subset not in ("train", "test", "all"):
        raise ValueError(f"subset must be 'train', 'test' or 'all', got subset={subset!r}.")
    parts = ("train", "test") if subset == "all" else (subset,)
    payloads = [[_payload(file, data_home, download_if_missing) for file in FILES[part]] for part in parts]
    data = np.concatenate([images for images, _ in payloads]) if subset == "all" else payloads[0][0]
    data = data.reshape(-1, 784)
    target = np.concatenate([labels for _, labels in payloads]).astype(np.int64)
    return as_bunch(data, target, (1, 28, 28), CLASS_NAMES, return_X_y, as_frame, DESCR, FEATURE_NAMES)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fmnist_sk"


def _payload(file: _File, data_home, download_if_missing: bool) -> np.ndarray:
    """The verified content of one file after its header, as a writable uint8 array."""
    folders = {"data_home": data_home, "FMNIST_SK_DATA": os.environ.get("FMNIST_SK_DATA")}
    given = [expanded(folder, name) for name, folder in folders.items() if folder is not None and str(folder)]
    cache = _cache_folder()
    places = [*given, SYSTEM_FOLDER, cache]
    for folder in places:
        for path in (folder / f"{file.name}.gz", folder / file.name):
            if path.is_file():
                return _read(path, file, remove_if_bad=folder == cache)
    target = (given or [cache])[0] / f"{file.name}.gz"
    problem = "download_if_missing=False"
    if download_if_missing:
        try:
            download([address + target.name for address in ADDRESSES], target, lambda path: _verify(path, file))
            return _read(target, file, remove_if_bad=True)
        except DownloadError as error:
            problem = str(error)
    raise FileNotFoundError(
        f"Fashion-MNIST's file {file.name}.gz is in none of {', '.join(map(str, places))}, and was not downloaded "
        f"({problem}). Remedies: put the four files from {ADDRESSES[-1]} into one of these folders; name their folder "
        "with data_home= or in the environment variable FMNIST_SK_DATA; on Debian and Ubuntu, apt-get install "
        "dataset-fashion-mnist; or call again with a network connection and download_if_missing=True.")


def _verify(path: Path, file: _File) -> bytearray:
    """The decompressed content of a file. Raise ValueError if it is not the published one."""
    try:
        content = decompressed(path, file.size)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} is truncated or damaged ({error})") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{path} is not Fashion-MNIST's {file.name} (SHA-256 of the content {digest[:12]}..., "
                         f"expected {file.sha256[:12]}...)")
    return content


def _read(path: Path, file: _File, *, remove_if_bad: bool) -> np.ndarray:
    try:
        content = _verify(path, file)
    except ValueError as error:
        if remove_if_bad:
            path.unlink(missing_ok=True)
            raise ValueError(f"{error}; it has been removed: call again to download it afresh.") from error
        raise ValueError(f"{error}; replace or delete it, or name another folder with data_home=.") from error
    return np.frombuffer(content, dtype=np.uint8)[file.header:]

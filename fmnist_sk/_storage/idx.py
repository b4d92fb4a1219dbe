"""The IDX format of MNIST and its relatives (LeCun et al., http://yann.lecun.com/exdb/mnist), plain or gzipped."""
from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4"}         # by the third byte
GROWTH, SMALL = 4, 2**24          # gzipped files may grow 4-fold, plus 16 MiB: MNIST's 10 MB grow 4.7-fold


def decompressed(path: Path, size: int) -> bytearray:
    """Up to `size` + 1 bytes of a file that may be gzipped: a decompression bomb stays small."""
    content = bytearray()
    with open(path, "rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.open(raw) if is_gzip else raw as stream:
            while part := stream.read(min(size + 1 - len(content), 2**20)):
                content += part
    return content


def read_idx(path: Path, n_dims: tuple[int, ...]) -> np.ndarray:
    """The whole numbers in an IDX file with one of these numbers of dimensions.

    Raises ValueError for files that are truncated, damaged or of another format.
    """
    try:
        header = bytes(decompressed(path, 3 + 4 * max(n_dims)))
        is_known = header[:2] == b"\0\0" and len(header) > 3 and header[2] in DTYPES and header[3] in n_dims
        if not is_known or len(header) < 4 + 4 * header[3]:
            raise ValueError("its first bytes are not those of whole numbers in "
                             f"{' or '.join(map(str, n_dims))} dimensions")
        sizes = np.frombuffer(header[4:4 + 4 * header[3]], ">u4").tolist()
        dtype, start = np.dtype(DTYPES[header[2]]), 4 + 4 * len(sizes)
        size = start + math.prod(sizes) * dtype.itemsize
        becomes = size if len(sizes) > 1 else 8 * size                      # labels become int64
        if becomes > (most := GROWTH * path.stat().st_size + SMALL) and size > path.stat().st_size:
            raise ValueError(f"its header promises {becomes:,} bytes, more than the {most:,} allowed for a file of its "
                             "size")
        content = decompressed(path, size)
        if len(content) != size:
            kind = "less" if len(content) < size else "more"
            raise ValueError(f"its header promises {size:,} bytes, but it has {kind}")
        return np.frombuffer(content, dtype, offset=start).reshape(sizes)
    except (ValueError, OSError, EOFError, MemoryError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} is not an IDX file, or a damaged one: {str(error) or 'too large'}.") from error

"""Images from CSV files of any origin, through pandas, within little more memory than the images need."""
from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from fmnist_sk._storage.archives import UNREADABLE, opened

LABELS = "label", "labels", "class", "target", "y"                          # names of columns, in any case
IDS = "id", "ids", "index", "image_id", "imageid", "", "unnamed: 0"         # the last two are pandas' own
VALUES = 2**20                  # at a time
MOST_BLANK = 1_000              # lines
MOST_COLUMNS = 20_000           # of 3 x 80 x 80 pixels: pandas needs kilobytes for each
LINE = 200                      # bytes of a label and an id as Python strings
LONGEST_LINE = 2**20            # characters: of 3 x 256 x 256 pixels
MOSTLY = 0.95                   # share of equal values in a column that is a corner of images, not labels
SMALLEST = 16                   # pixels of an image whose shape is guessed


class Table(NamedTuple):
    """Images (n, values) uint8, their labels (n,) int64 or strings, their ids (n,), and the shape of an image."""

    pixels: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray | None
    shape: tuple[int, int, int]


class _Layout(NamedTuple):
    """The layout of a line: column numbers; at most one column each of labels and ids."""

    is_header: bool
    labels: list[int]
    ids: list[int]
    pixels: list[int]


class _Lines:
    """A text file for pandas, line by line and within limits."""

    def __init__(self, text: IO[str], path: Path):
        self.text, self.path, self.n, self.n_blank, self.pushed_back = text, path, 0, 0, ""
        self.most_bytes = 8 * path.stat().st_size + 2**25

    def read(self, size: int = -1) -> str:
        if self.pushed_back:
            line, self.pushed_back = self.pushed_back, ""
            return line
        line, self.n = self.text.readline(LONGEST_LINE + 1), self.n + 1
        self.n_blank += line.isspace()
        for is_wrong, rule in ((len(line) > LONGEST_LINE, f"lines of at most {LONGEST_LINE:,} characters"),
                               (line.count('"') % 2, "an even number of quotes in each line"),
                               (self.n_blank > MOST_BLANK, f"at most {MOST_BLANK:,} blank lines")):
            if is_wrong:
                raise ValueError(f"{self.path} must have {rule}, got line {self.n}: {line[:40]!r}.")
        if self.n * LINE > self.most_bytes:
            raise ValueError(f"{self.path} has too many lines for its size, more than {self.n - 1:,}.")
        return line.replace("\0", "?")           # pandas before 3.1 reads "3\0" as 3

    def __iter__(self):
        return iter(self.read, "")


def read_table(path: Path, member: str | None, shape: tuple[int, int, int] | None) -> Table:
    """Content of a CSV file; in an archive, of the one named `member`. `shape` is that of an image, None to guess it.

    Raises ValueError for other content.
    """
    try:
        with opened(path, member) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
            lines = _Lines(text, path)
            first = next((line for line in lines if not line.isspace()), None)
            if first is None:
                raise pd.errors.EmptyDataError
            fields = next(csv.reader([first]))
            if len(fields) > MOST_COLUMNS:
                raise ValueError(f"{path} must have at most {MOST_COLUMNS:,} columns, got {len(fields):,}.")
            layout = _layout(fields, None if shape is None else math.prod(shape), path)
            lines.pushed_back = "" if layout.is_header else first
            frames = pd.read_csv(lines, header=None, dtype=dict.fromkeys(layout.labels + layout.ids, str),
                                 keep_default_na=False, low_memory=False, chunksize=max(1, VALUES // len(fields)))
            pixels, parts = bytearray(), []         # grows in place; joining arrays would need twice the memory
            for frame in frames:
                found, *columns = _checked(frame, layout, len(fields), path)
                pixels += found.data
                parts.append(columns)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} must hold at least one image, got no rows.") from None
    except (*UNREADABLE, pd.errors.ParserError) as error:
        raise ValueError(f"{path} cannot be read as CSV ({str(error).strip()}): give a file with the pixels of an "
                         "image in each line.") from error
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, len(layout.pixels))
    labels, ids = (np.concatenate(values) for values in zip(*parts, strict=True))
    if layout.labels and (not layout.is_header or fields[layout.labels[0]].strip().lower() not in LABELS):
        _check_first_is_label(labels, images[:, -1], path)
    if layout.labels and 4 * len(labels) * (longest := max(map(len, labels))) > lines.most_bytes:
        raise ValueError(f"{path} has too long a label for its size, one of {longest:,} characters.")
    return Table(images, _as_labels(labels, path) if layout.labels else None, ids if layout.ids else None,
                 shape or guessed_shape(len(layout.pixels)) or (1, 1, len(layout.pixels)))


def guessed_shape(n_values: int) -> tuple[int, int, int] | None:
    """(channels, height, width) of the square image, gray or RGB, that this many values fill."""
    for channels in (1, 3):
        side = math.isqrt(n_values // channels)
        if n_values >= SMALLEST and channels * side**2 == n_values:
            return channels, side, side
    return None


def _layout(fields: list[str], n_values: int | None, path: Path) -> _Layout:
    """The layout from the first line. A header's names differ, and are not numbers, or are 0, 1, 2, ... or too many."""
    names = [field.strip().lower() for field in fields]
    are_numbers = bool(pd.to_numeric(pd.Series(names), errors="coerce").notna().all())
    is_counted = [str(i) for i in range(len(names))] == names or [str(i + 1) for i in range(len(names))] == names
    is_header = len(set(names)) == len(names) and (not are_numbers or len(names) > 256 or is_counted)
    columns = range(len(names))
    labels, ids = ([i for i in columns if is_header and names[i] in known] for known in (LABELS, IDS))
    pixels = [i for i in columns if i not in labels + ids]
    fills = [guessed_shape(n) is not None if n_values is None else n == n_values
             for n in (len(pixels), len(pixels) - 1)]
    if not labels and fills == [False, True] and (are_numbers or not is_header):       # Fashion-MNIST's usual form
        labels, pixels, fills = pixels[:1], pixels[1:], [True, False]
    if not fills[0] or len(labels) > 1 or len(ids) > 1 or (labels and pixels[0] < labels[0] < pixels[-1]):
        separator = next((f", and is it separated by {other!r}, not by commas?" for other in ";\t|"
                          if len(fields) == 1 and other in fields[0]), "")
        size = "those of a square in gray or RGB, or as many as image_shape= says" if n_values is None else n_values
        raise ValueError(f"{path} must have the pixels of an image in each line ({size}), got {len(names)} columns: "
                         f"{', '.join(fields)[:60]!r}{separator or '.'} Before or after the pixels, there may be one "
                         f"column of labels, named {', '.join(LABELS)}, and one of ids.")
    numbered = [re.fullmatch(r"(\D*)(\d+)", names[i]) for i in pixels]
    if is_header and len({found and found[1] for found in numbered}) == 1 and numbered[0]:
        pixels.sort(key=lambda i: int(re.sub(r"\D", "", names[i])))          # pixel10 may come before pixel2
    return _Layout(is_header, labels, ids, pixels)


def _checked(frame: pd.DataFrame, layout: _Layout, n_columns: int, path: Path
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n, values) uint8 of some rows, and their labels and ids (n,) as strings, or (0,)."""
    if frame.shape[1] != n_columns:
        raise ValueError(f"{path} must have {n_columns} columns as in line 1, got {frame.shape[1]}.")
    pixels = frame[layout.pixels]
    for column, kind in pixels.dtypes.items():
        if kind.kind not in "iu" and (wrong := (pd.to_numeric(pixels[column], errors="coerce") % 1 != 0)).any():
            raise ValueError(f"{path} must hold whole numbers as pixels, got {pixels[column][wrong].iloc[0]!r:.40} in "
                             f"column {column + 1}, image {wrong.idxmax() + 1}.")
    low, high = pixels.min(axis=None), pixels.max(axis=None)
    if low < 0 or high > 255:
        raise ValueError(f"{path} must hold pixels from 0 to 255, got {low:g} to {high:g}.")
    labels, ids = (frame[columns].to_numpy(dtype=object).ravel() for columns in (layout.labels, layout.ids))
    return np.ascontiguousarray(pixels.to_numpy(dtype=np.uint8)), labels, ids


def _check_first_is_label(labels: np.ndarray, last: np.ndarray, path: Path) -> None:
    """Raise ValueError if the first column seems to hold pixels, and the last labels; no names tell them apart."""
    share = max((labels == value).mean() for value in ("0", "255"))
    if share >= MOSTLY > np.unique(last, return_counts=True)[1].max() / len(last):
        raise ValueError(f"{path} must have labels in its first column, or a header that names the label column "
                         f"{LABELS[0]}: the first is {share:.0%} background, and the last is not.")


def _as_labels(texts: np.ndarray, path: Path) -> np.ndarray:
    """Labels (n,) int64 if they are whole numbers, including 3.0 and the like, else strings."""
    labels = pd.Series(texts, dtype=object).fillna("").str.strip()
    values = pd.to_numeric(labels, errors="coerce")
    if values.isna().all() and labels.ne("").all():
        return labels.to_numpy(dtype=str)
    limit = 2**63 if values.dtype.kind in "iu" else 2**53          # beyond it floats skip whole numbers
    wrong = values.isna() | (values % 1 != 0) | (values.astype(float).abs() >= limit)
    if wrong.any():
        raise ValueError(f"{path} must hold labels that are all strings or all whole numbers of 64 bits, got "
                         f"{labels[wrong].iloc[0]!r:.40} for image {wrong.idxmax() + 1}.")
    return values.to_numpy(dtype=np.int64)

"""Images out of CSV files, from friends and from strangers."""
import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from fmnist_sk import load_csv


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (12, 784), dtype=np.uint8), np.arange(12) % 10
    path = tmp_path / "images.csv"
    frame = pd.DataFrame(np.column_stack([y, X]), columns=["label", *(f"pixel{i + 1}" for i in range(784))])
    frame.to_csv(path, index=False)
    return path, X, y


@pytest.mark.parametrize("form", ["plain", "no header", "gz", "tar.gz"])
def test_load_csv(form, csv, tmp_path):
    path, X, y = csv
    if form == "no header":
        path.write_text(path.read_text().split("\n", 1)[1])
    if form == "gz":
        path, plain = path.with_suffix(".csv.gz"), path
        path.write_bytes(gzip.compress(plain.read_bytes()))
    if form == "tar.gz":
        path, plain = tmp_path / "images.tar.gz", path
        with tarfile.open(path, "w:gz") as archive:
            archive.add(plain, "folder/images.csv")
    bunch = load_csv(path)
    np.testing.assert_array_equal(bunch.data, X)
    np.testing.assert_array_equal(bunch.target, y)
    assert bunch.data.dtype == np.uint8
    assert bunch.images.shape == (12, 28, 28)
    assert load_csv(path, as_frame=True).frame.shape == (12, 785)
    assert load_csv(path, return_X_y=True)[0].shape == (12, 784)


def test_load_csv_picks_a_member(csv, tmp_path):
    path, X, _ = csv
    with tarfile.open(tmp_path / "two.tar.gz", "w:gz") as archive:
        archive.add(path, "train.csv")
        archive.add(path, "test.csv")
    with pytest.raises(ValueError, match=r"member= must name one; it holds \['test.csv', 'train.csv'\]"):
        load_csv(tmp_path / "two.tar.gz")
    np.testing.assert_array_equal(load_csv(tmp_path / "two.tar.gz", member="test.csv").data, X)


@pytest.mark.parametrize(("content", "message"), [
    ("", "must hold at least one image, got no rows"),
    ("label,pixel1\n1,2\n", "must have 785 columns of integers"),
    (",".join(["3"] * 785) + "\n" + ",".join(["3", "x"] + ["3"] * 783), "must have 785 columns of integers"),
    (",".join(["3"] + ["256"] * 784), "must hold pixels from 0 to 255, got 256 to 256"),
    (",".join(["3"] + ["1.5"] * 784), "must have 785 columns of integers"),
    (",".join(["3"] + [""] * 784), "must have 785 columns of integers"),
])
def test_load_csv_names_what_is_wrong(content, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_csv(path)


ROW = ",".join(["3"] * 785) + "\n"


@pytest.mark.parametrize("first", ["", "nan", "3.0", "1e0", "0x3", "'3'", '"3"', "3 4", "3\0", "-",
                                   "99999999999999999999", "9223372036854775808"])
def test_a_first_label_that_is_no_whole_number_is_no_header(first, tmp_path):
    path = tmp_path / "images.csv"
    path.write_text(first + ROW[1:] + ROW)
    with pytest.raises(ValueError, match=r"must (have 785 columns of integers|hold labels of 64 bits)"):
        load_csv(path)


@pytest.mark.parametrize("header", ["label," + ",".join(f"pixel{i}" for i in range(784)), '"label"' + ",0" * 784])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headers_and_ends_of_lines(header, end, tmp_path):
    path = tmp_path / "images.csv"
    path.write_bytes(("\ufeff" + header + "\n-7" + ROW[1:] + "\n+4" + ROW[1:]).replace("\n", end).encode())
    assert load_csv(path).target.tolist() == [-7, 4]


def test_the_line_that_is_wrong_is_named(tmp_path):
    path = tmp_path / "images.csv"
    for line, message in ((ROW[:-3] + "\n", r"got 784 in line 3: '3,3,"), (ROW[:-1] + ",3\n", "got 786 in line 3"),
                          (ROW.replace(",3,", ",3.5,", 1), r"got '3.5' in column 2"),
                          ("\0" * 99 + "\n", "got 1 in line 3")):
        path.write_text(ROW + "\n" + line + ROW)
        with pytest.raises(ValueError, match=rf"must have 785 columns of integers \(label, 784 pixels\), {message}"):
            load_csv(path)


@pytest.mark.parametrize("form", ["bz2", "xz", "zip", "tar", "tar.bz2", "tar.xz", "tgz"])
def test_every_compression(form, csv, tmp_path):
    content, path = csv[0].read_bytes(), tmp_path / f"images.csv.{form}"
    if form in ("bz2", "xz"):
        path.write_bytes({"bz2": bz2, "xz": lzma}[form].compress(content))
    elif form == "zip":
        with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/images.csv", content)
    else:
        kind = form.removeprefix("tar").removeprefix(".").replace("tgz", "gz")
        with tarfile.open(path, f"w:{kind}") as archive:
            archive.addfile(*_member("a/readme.txt", b"x" * 3_000_000))
            archive.addfile(*_member("folder/images.csv", content))
    np.testing.assert_array_equal(load_csv(path).data, csv[1])


def _member(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def test_archives_that_cannot_be_read(csv, tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.csv", csv[0].read_bytes())
    whole = path.read_bytes()
    for offset, value, message in ((6, 1, "is encrypted"), (8, 99, "compression method is not supported"),
                                   (14, 77, "Bad CRC-32|differ|bad")):
        data = bytearray(whole)
        directory = data.rindex(b"PK\x01\x02")
        data[offset] = data[directory + offset + 2] = value
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"cannot be read as CSV \(.*({message})"):
            load_csv(path)
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(1001):
            archive.addfile(tarfile.TarInfo(f"{number}.csv"))
    with pytest.raises(ValueError, match="must hold at most 1,000 files"):
        load_csv(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "images.csv")
    for path in (tmp_path / "images.csv", tmp_path / "absent.csv", tmp_path, "/dev/zero"):
        with pytest.raises(FileNotFoundError, match="path must name a CSV file, but there is none at"):
            load_csv(path)
    with pytest.raises(TypeError, match=r"path must be a text or a pathlib\.Path, got path=None"):
        load_csv(None)


def test_files_that_are_cut_off(csv, tmp_path):
    path = tmp_path / "images.csv.gz"
    path.write_bytes(gzip.compress(csv[0].read_bytes())[:500])
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        load_csv(path)

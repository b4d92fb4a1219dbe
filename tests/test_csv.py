"""Images out of CSV files, from friends and from strangers."""
import bz2
import csv
import gc
import gzip
import io
import lzma
import os
import tarfile
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from fmnist_sk import CLASS_NAMES, ConvNetClassifier, load_csv


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (12, 784), dtype=np.uint8), np.arange(12) % 10
    path = tmp_path / "images.csv"
    frame = pd.DataFrame(np.column_stack([y, X]), columns=["label", *(f"pixel{i + 1}" for i in range(784))])
    frame.to_csv(path, index=False)
    return path, X, y


@pytest.mark.parametrize("form", ["plain", "no header", "gz", "tar.gz"])
def test_load_csv(form, table, tmp_path):
    path, X, y = table
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


def test_load_csv_picks_a_member(table, tmp_path):
    path, X, _ = table
    with tarfile.open(tmp_path / "two.tar.gz", "w:gz") as archive:
        archive.add(path, "train.csv")
        archive.add(path, "test.csv")
    with pytest.raises(ValueError, match=r"member= must name one; it holds \['test.csv', 'train.csv'\]"):
        load_csv(tmp_path / "two.tar.gz")
    np.testing.assert_array_equal(load_csv(tmp_path / "two.tar.gz", member="test.csv").data, X)
    with pytest.raises(ValueError, match=r"member must be None unless path is an archive, got member='test.csv' for"):
        load_csv(path, member="test.csv")


def test_file_names_may_be_in_capitals(table, tmp_path):
    content, X = table[0].read_bytes(), table[1]
    with zipfile.ZipFile(tmp_path / "DATA.ZIP", "w") as archive:
        archive.writestr("TRAIN.CSV", content)
    (tmp_path / "DATA.CSV.GZ").write_bytes(gzip.compress(content))
    with tarfile.open(tmp_path / "DATA.TAR.GZ", "w:gz") as archive:
        archive.addfile(*_member("TRAIN.CSV", content))
    for name in ("DATA.ZIP", "DATA.CSV.GZ", "DATA.TAR.GZ"):
        np.testing.assert_array_equal(load_csv(tmp_path / name).data, X)


def test_paths_may_begin_in_the_home_folder(table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(load_csv("~/images.csv").data, table[1])


NAMES = [f"pixel{i}" for i in range(1, 785)]
ROW = ",".join(["3"] * 785) + "\n"


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.integers(0, 256, (12, 784), dtype=np.uint8), columns=NAMES), np.arange(12) % 10


def read(frame, tmp_path, name="images.csv", *, image_shape=None, **options):
    frame.to_csv(tmp_path / name, **{"index": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("error")                  # such as of files that stay open
        bunch = load_csv(tmp_path / name, image_shape=image_shape)
        gc.collect()
    return bunch


@pytest.mark.parametrize("name", ["label", "Label", "class", "TARGET", "y", " labels"])
@pytest.mark.parametrize("place", [0, 784])
@pytest.mark.parametrize("ids", [None, "id", "ImageId", "pandas' index"])
def test_columns_are_found_by_their_names(name, place, ids, frame, tmp_path):
    frame, y = frame
    table = frame.copy()
    table.insert(place, name, y)
    if ids not in (None, "pandas' index"):
        table.insert(0, ids, range(100, 112))
    bunch = read(table, tmp_path, index=ids == "pandas' index")
    np.testing.assert_array_equal(bunch.data, frame)
    np.testing.assert_array_equal(bunch.target, y)
    assert bunch.target.dtype == np.int64
    assert (bunch.ids is None) == (ids is None)
    if ids is not None:
        assert bunch.ids.tolist() == [str(i + (0 if ids == "pandas' index" else 100)) for i in range(12)]


def test_a_file_without_labels_has_no_target(frame, tmp_path):
    frame, _ = frame
    for table, options in ((frame, {}), (frame, {"header": False}), (frame.assign(id=range(12)), {}),
                           (frame, {"index": True})):
        bunch = read(table, tmp_path, **options)
        assert bunch.target is None
        np.testing.assert_array_equal(bunch.data, frame)
    assert load_csv(tmp_path / "images.csv", return_X_y=True)[1] is None
    assert load_csv(tmp_path / "images.csv", as_frame=True).frame.shape == (12, 784)


def test_labels_may_be_texts_and_whole_numbers_of_any_form(frame, tmp_path):
    frame, y = frame
    names = np.array(["T-shirt, top", "Été", "nan", "7 of 9"])[y % 4]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        bunch = read(frame.assign(label=names), tmp_path, quoting=quoting)
        assert bunch.target.tolist() == names.tolist()
        assert bunch.target_names.tolist() == sorted(set(names))
    for values in (y.astype(float), y - 2**62, y + 2**52, [f"+{label}" for label in y], [f" {label}" for label in y]):
        bunch = read(frame.assign(label=values), tmp_path)
        assert bunch.target.tolist() == [int(value) for value in values]
    assert read(frame.assign(label=y), tmp_path).target_names.tolist() == [str(label) for label in range(10)]
    assert read(frame.assign(label=y), tmp_path, "my_fashion.csv").target_names.tolist() == list(CLASS_NAMES)


@pytest.mark.parametrize("options", [
    {"quoting": csv.QUOTE_ALL}, {"float_format": "%.1f"}, {"lineterminator": "\r\n"}, {"encoding": "utf-8-sig"},
    {"float_format": "%.1e", "quoting": csv.QUOTE_ALL}], ids=str)
def test_numbers_may_be_written_in_any_way(options, frame, tmp_path):
    frame, y = frame
    frame = frame // 10 * 10
    bunch = read(frame.astype(float).assign(label=y), tmp_path, **options)
    np.testing.assert_array_equal(bunch.data, frame)
    np.testing.assert_array_equal(bunch.target, y)


def test_pixels_stand_in_the_order_of_their_numbers(frame, tmp_path):
    frame, y = frame
    bunch = read(frame[sorted(frame)].assign(label=y), tmp_path)                # pixel1, pixel10, pixel100, ...
    np.testing.assert_array_equal(bunch.data, frame)
    named = frame.set_axis([f"{i // 28}x{i % 28}" for i in range(784)], axis=1).assign(label=y)
    np.testing.assert_array_equal(read(named, tmp_path).data, frame)
    numbered = frame.set_axis(range(784), axis=1)
    np.testing.assert_array_equal(read(numbered.assign(label=y), tmp_path).data, frame)
    numbered.insert(0, "y", y)
    np.testing.assert_array_equal(read(numbered.set_axis(range(785), axis=1), tmp_path).target, y)


def test_labels_that_seem_to_stand_last_are_not_taken_for_pixels(frame, tmp_path):
    (frame, y), path = frame, tmp_path / "images.csv"
    dark = frame.assign(**{frame.columns[0]: 0})
    dark.assign(label=y).to_csv(path, index=False, header=False)
    with pytest.raises(ValueError, match=r"labels in its first column, or a header .*: the first is 100% back"):
        load_csv(path)
    assert read(dark.assign(label=y), tmp_path).target.tolist() == y.tolist()
    frame.assign(**{frame.columns[-1]: 0}).assign(**{frame.columns[0]: 0}).to_csv(path, index=False, header=False)
    assert load_csv(path).target is None


def test_a_header_of_numbers_is_no_image(tmp_path):
    X = np.random.default_rng(0).integers(0, 17, (30, 64))
    for first in (0, 1):
        np.testing.assert_array_equal(read(pd.DataFrame(X, columns=range(first, 64 + first)), tmp_path).data, X)


def test_shapes_are_guessed_or_named(tmp_path):
    y = np.arange(6) % 2
    for n, shape, given in ((3072, (3, 32, 32), None), (64, (8, 8), None), (768, (3, 16, 16), None),
                            (600, (20, 30), (20, 30)), (784, (4, 14, 14), (4, 14, 14)), (9, (3, 3), (3, 3))):
        X = np.random.default_rng(0).integers(0, 256, (6, n), dtype=np.uint8)
        bunch = read(pd.DataFrame(X).add_prefix("p").assign(label=y), tmp_path, image_shape=given)
        np.testing.assert_array_equal(bunch.images, X.reshape(6, *shape))
        assert ConvNetClassifier(architecture="4N", max_epochs=1, image_shape=bunch.images.shape[1:]).fit(
            bunch.data, bunch.target).image_shape_[-2:] == shape[-2:]


NO_ROWS = "must hold at least one image, got no rows"
UNCLEAR = "must have the pixels of an image in each line .* columns"


@pytest.mark.parametrize(("content", "message"), [
    ("", NO_ROWS), ("\n\n", NO_ROWS), ("label," + ",".join(NAMES) + "\n", NO_ROWS),
    ("label,pixel1\n1,2\n", UNCLEAR), (ROW.replace(",", ";"), "columns: '3;3;.*, and is it separated by ';', not by"),
    ("category," + ",".join(NAMES) + "\n" + ROW, UNCLEAR + ": 'category, pixel1"),
    ("label,class," + ",".join(NAMES) + "\n3," + ROW, UNCLEAR),
    (",".join([*NAMES[:5], "label", *NAMES[5:]]) + "\n" + ROW, UNCLEAR),
    ("id,index,label," + ",".join(NAMES) + "\n3,3," + ROW, UNCLEAR),
    (ROW + ROW.replace("3,3", "3,x", 1), "must hold whole numbers as pixels, got 'x' in column 2, image 2"),
    (ROW.replace("3", "256"), "must hold pixels from 0 to 255, got 256 to 256"),
    (ROW + ROW.replace("3,3", "3,-1", 1), "must hold pixels from 0 to 255, got -1 to 3"),
    (ROW.replace("3,3", "3,1.5", 1), "must hold whole numbers as pixels, got .*1.5.* in column 2, image 1"),
    (ROW.replace("3,3", "3,", 1), "must hold whole numbers as pixels, got .* in column 2, image 1"),
    (ROW.replace("3,3", "3,nan", 1), "must hold whole numbers as pixels, got .* in column 2, image 1"),
    (ROW + ROW[2:], "must hold whole numbers as pixels, got '' in column 785, image 2"),
    (ROW + ROW[:-1] + ",3\n", "Expected 785 fields in line 2, saw 786"),
    (ROW + '"3' + ROW[1:], "an even number of quotes in each line, got line 2"),
    ("label," + ",".join(NAMES) + "\n" + ROW[2:], "must have 785 columns as in line 1, got 784"),
    (ROW + "\0" * 99 + "\n" + ROW, "must hold whole numbers as pixels, got '' in column 2, image 2"),
])
def test_load_csv_names_what_is_wrong(content, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_csv(path)


def test_load_csv_refuses_files_with_too_many_lines(tmp_path, monkeypatch):
    path = tmp_path / "images.csv"
    path.write_text(ROW * 3)
    monkeypatch.setattr("fmnist_sk._storage.csv.LINE", 2**24)
    with pytest.raises(ValueError, match="has too many lines for its size, more than 2"):
        load_csv(path)


@pytest.mark.parametrize("label", ["", "nan", "3.5", "x3", "3 4", "3\0", "-", "inf", "9223372036854775808",
                                   "99999999999999999999", "1e300", "9007199254740993.0"])
def test_labels_that_are_unclear_are_refused(label, tmp_path):
    path = tmp_path / "images.csv"
    path.write_text(ROW + label + ROW[1:])
    with pytest.raises(ValueError, match="must hold labels that are all strings or all whole numbers of 64 bits"):
        load_csv(path)


@pytest.mark.parametrize("header", ["", "label," + ",".join(NAMES) + "\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headers_and_ends_of_lines(header, end, tmp_path):
    path = tmp_path / "images.csv"
    path.write_bytes(("\ufeff\n" + header + "-7" + ROW[1:] + "\n+4" + ROW[1:]).replace("\n", end).encode())
    assert load_csv(path).target.tolist() == [-7, 4]


@pytest.mark.parametrize("form", ["bz2", "xz", "zip", "tar", "tar.bz2", "tar.xz", "tgz"])
def test_every_compression(form, table, tmp_path):
    content, path = table[0].read_bytes(), tmp_path / f"images.csv.{form}"
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
    np.testing.assert_array_equal(load_csv(path).data, table[1])


def _member(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def test_archives_that_cannot_be_read(table, tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.csv", table[0].read_bytes())
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
    with pytest.raises(TypeError, match=r"path must be a string or a pathlib\.Path, got path=None"):
        load_csv(None)


def test_files_that_are_cut_off(table, tmp_path):
    path = tmp_path / "images.csv.gz"
    path.write_bytes(gzip.compress(table[0].read_bytes())[:500])
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        load_csv(path)

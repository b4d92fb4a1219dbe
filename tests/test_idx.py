"""IDX files: the form of MNIST and its relatives."""
import gzip
import struct

import numpy as np
import pytest

from fmnist_sk import CLASS_NAMES, load_idx

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def write(path, values, dtype="u1", sizes=None, compress=False):
    """Write an IDX file, with other `sizes` in its header if they are given."""
    values = np.asarray(values, dtype=dtype)
    sizes = values.shape if sizes is None else sizes
    content = struct.pack(f">HBB{len(sizes)}I", 0, CODES[dtype], len(sizes), *sizes) + values.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 6), dtype=np.uint8)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", ">i4"])
def test_images_and_labels_of_any_pair_are_read(compress, dtype, images, tmp_path):
    y = [3, 100, 0, 1, 3, 3, 1]
    pair = (write(tmp_path / "images-idx3-ubyte", images, compress=compress),
            write(tmp_path / "labels-idx1-ubyte", y, dtype, compress=compress))
    bunch = load_idx(*pair)
    np.testing.assert_array_equal(bunch.images, images)
    assert bunch.data.shape == (7, 30)
    assert bunch.target.tolist() == y
    assert bunch.target.dtype == np.int64
    assert bunch.target_names.tolist() == ["0", "1", "3", "100"]
    assert load_idx(*pair, as_frame=True).frame.shape == (7, 31)
    X, target = load_idx(pair[0], return_X_y=True)
    assert (X.shape, target) == ((7, 30), None)
    bunch.images[:] = 0                                         # what is read can be changed


def test_images_in_colour_have_their_channels_first(images, tmp_path):
    colour = np.stack([images, images // 2, 255 - images], -1)
    bunch = load_idx(write(tmp_path / "images", colour))
    np.testing.assert_array_equal(bunch.images, colour.transpose(0, 3, 1, 2))


def test_fashion_mnist_is_known_by_its_name(images, tmp_path):
    labels = write(tmp_path / "labels", np.arange(7))
    assert load_idx(write(tmp_path / "fashion-images", images), labels).target_names.tolist() == list(CLASS_NAMES)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def longer(path):
    path.write_bytes(path.read_bytes() + b"x")


def damaged_gzip(path):
    content = bytearray(gzip.compress(path.read_bytes()))
    content[-6] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "message"), [
    (truncated, "its header promises 226 bytes, but it has less"), (longer, "but it has more"), (damaged_gzip, "CRC"),
    (lambda path: path.write_bytes(b"hello"), "its first bytes are not those of whole numbers in 3 or 4 dimensions"),
    (lambda path: path.write_bytes(b""), "its first bytes are not"),
    (lambda path: write(path, np.zeros((2, 2, 2)), ">f4"), "its first bytes are not those of whole numbers"),
    (lambda path: write(path, np.zeros(4)), "in 3 or 4 dimensions"),
    (lambda path: write(path, [], sizes=(2**31, 2**10, 2**10)), "bytes, more than the"),
    (lambda path: write(path, [], sizes=(2**31, 0, 2**10)), "n >= 1, got uint8 of shape"),
    (lambda path: write(path, np.zeros((2, 2, 2)), ">i4"), "images must hold bytes .* got >i4"),
    (lambda path: write(path, np.zeros((2, 2, 2, 5))), r"got uint8 of shape \(2, 2, 2, 5\)"),
])
def test_what_is_wrong_with_images_is_said(damage, message, images, tmp_path):
    path = write(tmp_path / "images", images)
    damage(path)
    with pytest.raises(ValueError, match=message):
        load_idx(path)


def test_what_is_wrong_with_labels_is_said(images, tmp_path):
    path = write(tmp_path / "images", images)
    with pytest.raises(ValueError, match="labels must hold a label for each of the 7 images, got 6 in "):
        load_idx(path, write(tmp_path / "labels", np.arange(6)))
    with pytest.raises(ValueError, match="its first bytes are not those of whole numbers in 1 dimensions"):
        load_idx(path, path)
    for wrong in (tmp_path / "absent", tmp_path):
        with pytest.raises(FileNotFoundError, match="labels must name an IDX file, but there is none at"):
            load_idx(path, wrong)
        with pytest.raises(FileNotFoundError, match="images must name an IDX file, but there is none at"):
            load_idx(wrong)
    with pytest.raises(TypeError, match=r"images must be a string or a pathlib\.Path, got images=None"):
        load_idx(None)

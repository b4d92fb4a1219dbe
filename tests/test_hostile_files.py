"""Files from strangers run no code, and are refused within bounded memory and time."""
import gzip
import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from estimators import small
from PIL import Image

from fmnist_sk import InceptionV3Classifier, load, load_csv

MIB = 2**20


class Evil:
    """What unpickles as a call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def repacked(path, **settings):
    """A zip archive anew with other settings of each of its members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


READERS = {
    "model": lambda path: load(path),
    "weights": lambda path: small("InceptionV3Classifier", weights=str(path)).fit(
        np.zeros((12, 8, 8), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None], np.arange(12) % 2),
}


@pytest.mark.parametrize("form", ["pickle", "zip of torch.save"])
@pytest.mark.parametrize("reader", READERS)
def test_no_code_is_run(reader, form, tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "file"
    evil = {"fc.weight": Evil(trap), "module": Evil(trap), "history": Evil(trap)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path)
    with pytest.raises(ValueError, match="file"):
        READERS[reader](path)
    assert not trap.exists()


@pytest.mark.parametrize("form", ["pickle", "zip of torch.save"])
def test_no_code_of_a_checkpoint_is_run(form, tiny_images, tmp_path):
    X, y = tiny_images()
    trap, settings = tmp_path / "trap", {"max_epochs": 2, "checkpoint": tmp_path / "folder"}
    small("ConvNetClassifier", **settings, keep_checkpoint=True).fit(X, y)
    path, = (tmp_path / "folder").iterdir()
    evil = {**torch.load(path, weights_only=True), "history": Evil(trap)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path)
    with pytest.warns(UserWarning, match="cannot be read"):
        small("ConvNetClassifier", **settings, keep_checkpoint=True).fit(X, y)
    assert not trap.exists()


def bomb_of_torch(path):
    torch.save({"fc.weight": torch.zeros(600 * MIB // 4)}, path)
    repacked(path, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


def calls(code):
    """Tensors whose pickle is another."""
    def write(path):
        torch.save({"a": 1}, path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, code if name.endswith("data.pkl") else b"1")
    return write


def slow_codec(path):
    text = "".join(chr(0x4e00 + i) for i in range(20_000)).encode()
    calls(b"\x80\x02c_codecs\nencode\nX" + struct.pack("<I", len(text)) + text + b"X\x08\0\0\0punycode\x86R.")(path)


def of_two_minds(path):
    """PyTorch takes it for an archive, Python does not."""
    bomb_of_torch(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05\x06" + bytes(4)


def of_old(path):
    """As PyTorch wrote before archives, but with a tensor of 2**40 numbers."""
    torch.save({"fc.weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"K\x04Nt") == 1
    path.write_bytes(data.replace(b"K\x04Nt", b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"Nt"))


def csv_bomb(line, times, first=b""):
    def write(path):
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(first)
            for _ in range(times):
                file.write(line)
    return write


def zip_of_csv(path):
    settings = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(path, "w", **settings) as archive, archive.open("a.csv", "w") as file:
        for _ in range(600):
            file.write(b"0" * MIB)


def tar_of_one_header(path):
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 600 * MIB
    csv_bomb(bytes(MIB), 600, info.tobuf())(path)


def with_header(length, header=b"", size=0):
    return lambda path: path.write_bytes(struct.pack("<Q", length) + header + bytes(size))


def absurd(shape, end):
    header = json.dumps({"0.module.w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return with_header(len(header), header, 64)


def deep(path):
    header = json.dumps({"__metadata__": {"fmnist_sk": "[" * 10**6}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def jpeg_of_scans(path):
    Image.effect_noise((3_000, 3_000), 99).save(path, progressive=True, quality=1)
    data = path.read_bytes()
    path.write_bytes(data[:-2] + data[data.rindex(b"\xff\xda"):-2][:99] * 50_000)


def tiled_tiff(path):
    """16 x 16 pixels out of one tile of 32,768 x 32,768."""
    tile = zlib.compress(bytes(2**30), 9)
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**15, 323: 2**15, 324: 8 + 2 + 12 * 10 + 4,
            325: len(tile)}
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4) + tile)


WEIGHTS = "small('InceptionV3Classifier', weights=path).fit(X, y)"
ATTACKS = {
    "deflated weights": ("weights.pth", bomb_of_torch, WEIGHTS, "parts would grow when they are read"),
    "deflated checkpoint": ("fit.pt", bomb_of_torch, "FitFile._load(Path(path))", "cannot be read"),
    "weights that ask for memory": ("weights.pth", calls(b"\x80\x02cbuiltins\nbytearray\nJ\0\0\0\x7f\x85R."), WEIGHTS,
                                    "it holds builtins bytearray, which is no part of tensors"),
    "weights that ask for time": ("weights.pth", slow_codec, WEIGHTS, "it holds _codecs encode, which is no part"),
    "weights that two understand otherwise": ("weights.pth", of_two_minds, WEIGHTS, "cannot be read as one"),
    "old weights": ("weights.pth", of_old, WEIGHTS, "it holds the number 1099511627776, but only"),
    "one endless line": ("bomb.csv.gz", csv_bomb(b"0" * MIB, 600), "load_csv(path)", "lines, of at most 1,048,576"),
    "a quoted line": ("bomb.csv.gz", csv_bomb(b"0" * 9_000 + b"\n", 200_000, b'"'), "load_csv(path)",
                      "even number of quotes"),
    "many columns": ("bomb.csv.gz", csv_bomb(b"0," * 8_000 + b"0\n", 9_000), "load_csv(path)", "got 8001 columns"),
    "a long name in an archive": ("bomb.tar.gz", tar_of_one_header, "load_csv(path)", "headers of at most 1,048,576"),
    "blank lines": ("bomb.csv.gz", csv_bomb(b"\n" * MIB, 500, b",".join([b"3"] * 785)), "load_csv(path)",
                    "at most 1,000,000 lines"),
    "a line in a zip": ("bomb.zip", zip_of_csv, "load_csv(path)", "lines, of at most 1,048,576"),
    "a header of exabytes": ("model.safetensors", with_header(2**62), "load(path)", "damaged, or no file"),
    "a header longer than the file": ("model.safetensors", with_header(10**8), "load(path)", "damaged, or no file"),
    "an absurd shape": ("model.safetensors", absurd([2**40, 2**40], 64), "load(path)", "damaged, or no file"),
    "a tensor beyond the file": ("model.safetensors", absurd([2**38], 2**40), "load(path)", "damaged, or no file"),
    "deep settings": ("model.safetensors", deep, "load(path)", "damaged, or no file"),
    "scans of a photo": ("photo.jpg", jpeg_of_scans, "PhotoToFashion().transform([path])", "at most 100 scans"),
    "a tile beyond the photo": ("photo.tiff", tiled_tiff, "PhotoToFashion().transform([path])", "(BMP, GIF, JPEG"),
}
READER = """
import json, os, resource, signal, sys, traceback, warnings
sys.path.insert(0, "tests")
from pathlib import Path
import numpy as np
from estimators import small
from fmnist_sk import PhotoToFashion, load, load_csv
from fmnist_sk._storage.fit_file import FitFile
import pandas, safetensors.torch, skops.io
warnings.simplefilter("error")
X, y = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8), np.arange(12) % 2
for line in sys.stdin:
    path, read = json.loads(line)
    pid = os.fork()
    if pid:
        print(json.dumps(os.waitpid(pid, 0)[1]), flush=True)
        continue
    signal.alarm(60)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
    try:
        exec(read)
    except (ValueError, UserWarning) as error:
        print(json.dumps(str(error)), flush=True)
    except BaseException:
        traceback.print_exc()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def read_within_bounds():
    """Reads a file with little memory, in a process of its own, which has a minute; what the error says.

    The processes are forks of one that has imported everything.
    """
    with subprocess.Popen([sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as reader:
        def read(path, code):
            print(json.dumps([str(path), code]), file=reader.stdin, flush=True)
            said = []
            while not isinstance(answer := json.loads(reader.stdout.readline()), int):
                said.append(answer)
            assert answer == 0, f"the reader ended with status {answer}"
            return said

        yield read
        reader.stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_within_bounded_memory_and_time(attack, tmp_path, read_within_bounds):
    name, make, code, message = ATTACKS[attack]
    make(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 20 * MIB
    said, = read_within_bounds(tmp_path / name, code)
    assert message in said


def test_weights_as_pytorch_wrote_them_long_ago(tmp_path, tiny_images):
    X, y = tiny_images()
    new = small("InceptionV3Classifier")
    torch.save(torch.load(new.weights, weights_only=True), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old = small("InceptionV3Classifier", weights=str(tmp_path / "old.pth"))
    np.testing.assert_array_equal(old.fit(X, y).predict_proba(X), new.fit(X, y).predict_proba(X))


def test_members_of_archives_stay_in_them(tmp_path):
    """Nothing is unpacked, so names that lead out of the folder, and links, lead nowhere."""
    line = b",".join([b"3"] * 785) + b"\n"
    outside = tmp_path / "secret.csv"
    outside.write_bytes(line)
    folder = tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(folder / "evil.tar", "w") as archive:
        info = tarfile.TarInfo("../escaped.csv")
        info.size = len(line)
        archive.addfile(info, io.BytesIO(line))
        link = tarfile.TarInfo("link.csv")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
    assert len(load_csv(folder / "evil.tar").data) == 1
    with pytest.raises(ValueError, match=r"must hold the member 'link.csv'; it holds \['../escaped.csv'\]"):
        load_csv(folder / "evil.tar", member="link.csv")
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.csv", line)
    assert len(load_csv(folder / "evil.zip").data) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["evil.tar", "evil.zip", "folder", "secret.csv"]


def test_weights_for_another_width_take_no_memory(tmp_path, tiny_images):
    X, y = tiny_images()
    torch.save({"fc.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="weights must"):
        InceptionV3Classifier(weights=str(tmp_path / "w.pth"), width=0.1).fit(X, y)

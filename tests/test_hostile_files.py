"""Files from strangers run no code, and are refused within bounded memory and time."""
import gzip
import io
import json
import lzma
import os
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
from forging import rewritten
from PIL import Image
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fmnist_sk import InceptionV3Classifier, load, load_csv, save

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
    evil = {"history": Evil(trap)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path)
    with pytest.warns(UserWarning, match="cannot be read"):
        small("ConvNetClassifier", **settings, keep_checkpoint=True).fit(X, y)
    assert not trap.exists()


def of_tar(path):
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "sys_info")


def bomb_of_torch(path):
    torch.save({"fc.weight": torch.zeros(300 * MIB // 4)}, path)
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
        for _ in range(200):
            file.write(b"0" * MIB)


def tar_of_one_header(path):
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 200 * MIB
    csv_bomb(bytes(MIB), 200, info.tobuf())(path)


def of_dictionary(path):
    """Decompressing it asks for memory of 1.5 GiB, of which little would be used."""
    data = bytearray(lzma.compress(b"1,2\n", check=lzma.CHECK_CRC32))
    end = 12 + 4 * data[12]
    data[data.index(b"\x21\x01", 12) + 2] = 37
    data[end:end + 4] = struct.pack("<I", zlib.crc32(data[12:end]))
    path.write_bytes(data)


def zip_of_dictionary(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", "1,2\n")
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 2**23)) == 1
    path.write_bytes(data.replace(struct.pack("<I", 2**23), struct.pack("<I", 2**31)))


def sparse(size, first=b""):
    """A file that takes no room on the disk."""
    def write(path):
        path.write_bytes(first)
        os.truncate(path, size)
    return write


def sparse_tensor(path):
    header = json.dumps({"__metadata__": {"fmnist_sk": '{"format": 2}'},
                         "w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}).encode()
    sparse(2**40 + 8 + len(header), struct.pack("<Q", len(header)) + header)(path)


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


def wide(path):
    """A vote of a network whose layers would take two gigabytes for 16 of its images."""
    X, y = np.random.default_rng(0).integers(0, 256, (20, 64), dtype=np.uint8), np.arange(20) % 2
    save(VotingClassifier([("net", small("ConvNetClassifier", architecture="512C1-GAP"))]).fit(X, y), path)

    def change(content, tensors):
        described = next(one for one in content["classifiers"] if "learned" in one)
        described["learned"] |= {"image_shape_": {"tuple": [1, 256, 256]}, "n_features_in_": 256**2}

    rewritten(path, change)


def nested(n):
    def write(path):
        save(StandardScaler().fit([[1.0], [2.0]]), path)

        def change(content, tensors):
            for _ in range(n):
                content["estimator"] = {"object": "Pipeline", "params": {"steps": [{"tuple": [
                    "a", content["estimator"]]}], "transform_input": None, "verbose": False}}

        rewritten(path, change)
    return write


def many_forests(path):
    """Ten forests of 10,000 trees that are a leaf each."""
    model = Pipeline([(f"{i}", RandomForestClassifier(1, max_depth=1, bootstrap=False)) for i in range(10)])
    for _, step in model.steps:
        step.fit([[1], [2]], [0, 0])
    save(model, path)

    def change(content, tensors):
        for key, value in tensors.items():
            if "node_" in key or "values" in key or "counts" in key:
                tensors[key] = value[:1].repeat_interleave(10_000, 0)

    rewritten(path, change)


def layers_without_weights(path):
    X, y = np.random.default_rng(0).integers(0, 256, (20, 64), dtype=np.uint8), np.arange(20) % 2
    save(small("ConvNetClassifier", architecture="GAP").fit(X, y), path)
    rewritten(path, lambda content, tensors: content["classifiers"][0]["params"].update(
        architecture="MP1-" * 998 + "GAP"))


def one_long_label(path):
    with gzip.open(path, "wb") as file:
        for i in range(2_000):
            file.write(b"a" * (1 if i else 120_000) + b",1" * 784 + b"\n")


def sparse_member(path):
    """A member that says that its blocks are read again and again."""
    info = tarfile.TarInfo("a.csv")
    info.type = tarfile.GNUTYPE_SPARSE
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def long_headers(path):
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for i in range(200):
            info = tarfile.TarInfo(f"{i}")
            info.pax_headers = {"comment": "9" * 8_000}
            archive.addfile(info)


def pickled_lists(path):
    calls(b"\x80\x02" + b"]" * 4_000_000 + b".")(path)


def flat_png(path):
    Image.new("RGBA", (7_000, 7_000)).save(path)


WEIGHTS = "small('InceptionV3Classifier', weights=path).fit(X, y)"
OF_NETWORK = 100 * MIB          # which is made beside its weights
ATTACKS = {
    "deflated weights": ("weights.pth", bomb_of_torch, WEIGHTS, "parts would grow when they are read"),
    "weights that ask for memory": ("weights.pth", calls(b"\x80\x02cbuiltins\nbytearray\nJ\0\0\0\x7f\x85R."), WEIGHTS,
                                    "it holds builtins bytearray, which is not part of tensors"),
    "weights that ask for time": ("weights.pth", slow_codec, WEIGHTS, "it holds _codecs encode, which is not part"),
    "weights that two understand otherwise": ("weights.pth", of_two_minds, WEIGHTS, "cannot be read as one"),
    "weights that are a tar too": ("weights.pth", of_tar, WEIGHTS, "it is a tar archive"),
    "old weights": ("weights.pth", of_old, WEIGHTS, "it holds the number 1099511627776, but only"),
    "one endless line": ("bomb.csv.gz", csv_bomb(b"0" * MIB, 200), "load_csv(path)", "lines of at most 1,048,576"),
    "a quoted line": ("bomb.csv.gz", csv_bomb(b"0" * 9_000 + b"\n", 25_000, b'"'), "load_csv(path)",
                      "an even number of quotes in each line, got"),
    "many columns": ("bomb.csv.gz", csv_bomb(b"0," * 8_000 + b"0\n", 9_000), "load_csv(path)", "got 8001 columns"),
    "a long name in an archive": ("bomb.tar.gz", tar_of_one_header, "load_csv(path)", "headers of at most 2,048"),
    "blank lines": ("bomb.csv.gz", csv_bomb(b"\n" * MIB, 200, b",".join([b"3"] * 785)), "load_csv(path)",
                    "at most 1,000 blank lines, got line"),
    "images of nothing": ("bomb.csv.gz", csv_bomb(b"0," * 784 + b"0\n", 130_000), "load_csv(path)",
                          "bytes when it is decompressed"),
    "idx of nothing": ("train-images-idx3-ubyte.gz", csv_bomb(bytes(MIB), 200, bytes.fromhex("00000803") + struct.pack(
        ">III", 200, 2**10, 2**10)), "load_idx(path, path)", "bytes, more than the"),
    "a dictionary of xz": ("big.csv.xz", of_dictionary, "load_csv(path)", "cannot be read as CSV"),
    "a dictionary in a zip": ("big.zip", zip_of_dictionary, "load_csv(path)", "cannot be read as CSV"),
    "a sparse archive": ("sparse.tar", sparse(2**40), "load_csv(path)", "it holds none"),
    "a sparse table": ("sparse.csv", sparse(2**40), "load_csv(path)", "lines of at most 1,048,576"),
    "a sparse idx": ("train-images-idx3-ubyte", sparse(2**40, bytes.fromhex("00000803") + struct.pack(
        ">III", 2**20, 2**10, 2**10)), "load_idx(path, path)", "not an IDX file"),
    "a sparse model": ("model.safetensors", sparse(2**40), "load(path)", "damaged, or not a file"),
    "a sparse tensor": ("model.safetensors", sparse_tensor, "load(path)", "damaged, or not a file"),
    "a wide network": ("model.safetensors", wide, "load(path)", "values in one layer"),
    "nested without end": ("model.safetensors", nested(40), "load(path)", "in more than 10 others"),
    "many forests": ("model.safetensors", many_forests, "load(path)", "more objects than a file of its size"),
    "layers without weights": ("model.safetensors", layers_without_weights, "load(path)", "much larger network"),
    "one long label": ("a.csv.gz", one_long_label, "load_csv(path)", "has too long a label for its size"),
    "a long field": ("a.csv", lambda path: path.write_text("1" * 200_000 + ",2\n"), "load_csv(path)", "field larger"),
    "pixels of many digits": ("a.csv", lambda path: path.write_text(("9" * 400 + ",1" * 784 + "\n") * 2),
                              "load_csv(path)", "a.csv"),
    "a sparse member": ("a.tar", sparse_member, "load_csv(path)", "it holds none"),
    "long headers": ("a.tar.gz", long_headers, "load_csv(path)", "headers of at most"),
    "lists in lists": ("weights.pth", pickled_lists, WEIGHTS, "instructions"),
    "a flat photo": ("photo.png", flat_png, "PhotoToFashion().transform([path])", "too large for a file of"),
    "a sparse photo": ("photo.png", sparse(2**40), "PhotoToFashion().transform([path])", "photo"),
    "sparse weights": ("weights.pth", sparse(2**40), WEIGHTS, "cannot be read as one"),
    "a line in a zip": ("bomb.zip", zip_of_csv, "load_csv(path)", "lines of at most 1,048,576"),
    "a header of exabytes": ("model.safetensors", with_header(2**62), "load(path)", "it is not a safetensors"),
    "a header longer than the file": ("model.safetensors", with_header(10**8), "load(path)", "damaged, or not a file"),
    "an absurd shape": ("model.safetensors", absurd([2**40, 2**40], 64), "load(path)", "damaged, or not a file"),
    "a tensor beyond the file": ("model.safetensors", absurd([2**38], 2**40), "load(path)", "damaged, or not a file"),
    "deep settings": ("model.safetensors", deep, "load(path)", "damaged, or not a file"),
    "scans of a photo": ("photo.jpg", jpeg_of_scans, "PhotoToFashion().transform([path])", "at most 100 scans"),
    "a tile beyond the photo": ("photo.tiff", tiled_tiff, "PhotoToFashion().transform([path])", "(BMP, GIF, JPEG"),
}
READER = """
import json, os, resource, signal, sys, traceback, warnings
sys.path.insert(0, "tests")
from pathlib import Path
import numpy as np
from estimators import small
from fmnist_sk import PhotoToFashion, load, load_csv, load_idx
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
    with open("/proc/self/statm") as file:
        mapped, used = (int(number) * resource.getpagesize() for number in file.read().split()[:2])
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 400 * 2**20,) * 2)
    try:
        exec(read)
    except (ValueError, UserWarning) as error:
        print(json.dumps(str(error)), flush=True)
    except BaseException:
        traceback.print_exc()
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0 - used), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def read_within_bounds():
    """Reads a file in a process of its own, which has a minute and 400 MiB; what an error says, and the bytes it took.

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
    found = (tmp_path / name).stat()
    assert found.st_blocks * 512 < 20 * MIB
    said, took = read_within_bounds(tmp_path / name, code)
    assert message in said
    assert took < 8 * found.st_size + 64 * MIB + OF_NETWORK * (code == WEIGHTS)


def of_digits(path):
    """Rows that compress as much as those of MNIST."""
    X = np.arange(784) // 56 % 2 * np.random.default_rng(0).integers(0, 256, (4_000, 784))
    text = io.BytesIO()
    np.savetxt(text, np.hstack([np.arange(len(X))[:, None] % 10, X]), "%d", ",")
    with gzip.open(path, "wb") as file:
        file.write(4 * text.getvalue())


def fitted(model):
    X, y = np.random.default_rng(0).integers(0, 256, (500, 64), dtype=np.uint8), np.arange(500) % 10
    return lambda path: save(model.fit(X, y), path)


LARGE = {
    "network": ("m.safetensors", fitted(small("ConvNetClassifier", architecture="4C3-5000N", max_epochs=1)),
                "load(path)"),
    "forest": ("m.safetensors", fitted(RandomForestClassifier(99)), "load(path)"),
    "stumps": ("m.safetensors", fitted(RandomForestClassifier(5_000, max_depth=1, max_samples=9)), "load(path)"),
    "neighbours": ("m.safetensors", fitted(KNeighborsClassifier(algorithm="kd_tree")), "load(path)"),
    "csv": ("m.csv.gz", of_digits, "load_csv(path)"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", LARGE)
def test_valid_files_take_at_most_eight_times_their_size(name, tmp_path, read_within_bounds):
    name, write, code = LARGE[name]
    write(tmp_path / name)
    took, = read_within_bounds(tmp_path / name, code)
    assert took < 8 * (tmp_path / name).stat().st_size + 64 * MIB


def test_weights_as_pytorch_wrote_them_long_ago(tmp_path, tiny_images):
    X, y = tiny_images()
    new = small("InceptionV3Classifier", max_epochs=1)
    torch.save(torch.load(new.weights, weights_only=True), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old = small("InceptionV3Classifier", max_epochs=1, weights=str(tmp_path / "old.pth"))
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

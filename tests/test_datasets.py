"""Loading: from folders, and from a server that misbehaves."""
import contextlib
import gzip
import hashlib
import http.server
import multiprocessing
import threading
import time

import numpy as np
import pandas as pd
import pytest
from fashion import real_data

from fmnist_sk import datasets, load_fashion_mnist
from fmnist_sk._storage import download

# ---------------------------------------------------------------------- the real data

@real_data
def test_real_data_in_the_manner_of_load_digits():
    bunch = load_fashion_mnist("test")
    assert bunch.data.shape == (10_000, 784)
    assert bunch.data.dtype == np.uint8
    assert bunch.images.shape == (10_000, 28, 28)
    assert np.shares_memory(bunch.data, bunch.images)
    assert np.bincount(bunch.target).tolist() == [1000] * 10
    assert bunch.target_names[bunch.target[0]] == "Ankle boot"
    assert "Zalando" in bunch.DESCR
    assert bunch.frame is None
    X, y = load_fashion_mnist("test", return_X_y=True)
    assert X.shape == (10_000, 784)
    assert y.dtype == np.int64


@real_data
def test_real_data_all_and_as_frame():
    everything = load_fashion_mnist("all")
    assert everything.data.shape == (70_000, 784)
    np.testing.assert_array_equal(everything.data[60_000:], load_fashion_mnist("test").data)
    bunch = load_fashion_mnist("test", as_frame=True)
    assert bunch.frame.shape == (10_000, 785)
    assert list(bunch.data.columns[:2]) == ["pixel_0_0", "pixel_0_1"]
    X, y = load_fashion_mnist("test", return_X_y=True, as_frame=True)
    assert isinstance(X, pd.DataFrame)
    assert isinstance(y, pd.Series)


# ---------------------------------------------------------------------- small stand-ins for the four files

@pytest.fixture
def small_files(tmp_path, monkeypatch):
    """Four small files with their checksums in place of the published ones; nothing is found anywhere."""
    rng = np.random.default_rng(0)
    contents, table = {}, {}
    for part, files in datasets.FILES.items():
        images = rng.integers(0, 256, (20, 784), dtype=np.uint8).tobytes()
        labels = (np.arange(20, dtype=np.uint8) % 10).tobytes()
        entries = []
        for file, payload in zip(files, (images, labels), strict=True):
            content = bytes(file.header) + payload
            contents[file.name] = content
            entries.append(file._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest()))
        table[part] = tuple(entries)
    monkeypatch.setattr(datasets, "FILES", table)
    monkeypatch.setattr(datasets, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FMNIST_SK_DATA", raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 1.0)
    monkeypatch.setattr(datasets, "ADDRESSES", ("http://127.0.0.1:9/", "http://127.0.0.1:9/mirror/"))
    return contents


def put(folder, contents, *, compressed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["data_home", "variable", "system", "cache"])
def test_looks_in_every_place(place, compressed, small_files, tmp_path, monkeypatch):
    put(tmp_path / {"cache": "cache/fmnist_sk"}.get(place, place), small_files, compressed=compressed)
    if place == "variable":
        monkeypatch.setenv("FMNIST_SK_DATA", str(tmp_path / "variable"))
    data_home = tmp_path / "data_home" if place == "data_home" else None
    assert load_fashion_mnist("all", data_home=data_home, download_if_missing=False).data.shape == (40, 784)


def test_nothing_found_lists_every_place_and_remedy(small_files, tmp_path, monkeypatch):
    monkeypatch.setenv("FMNIST_SK_DATA", str(tmp_path / "variable"))
    for allowed in (True, False):
        with pytest.raises(FileNotFoundError) as error:
            load_fashion_mnist(data_home=tmp_path / "home", download_if_missing=allowed)
        for text in ("home", "variable", "system", "cache/fmnist_sk", "data_home=", "FMNIST_SK_DATA",
                     "apt-get install dataset-fashion-mnist", "download_if_missing=True"):
            assert text in str(error.value)
        assert ("refused" in str(error.value)) == allowed


@pytest.mark.parametrize("damage", ["truncated", "other", "no gzip", "longer"])
def test_a_bad_file_is_named_and_does_not_stay_in_the_cache(damage, small_files, tmp_path):
    cache = tmp_path / "cache/fmnist_sk"
    put(cache, small_files)
    path = cache / "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes({"truncated": path.read_bytes()[:-2000], "other": gzip.compress(whole[::-1]),
                      "no gzip": b"<html>not found</html>", "longer": gzip.compress(whole + bytes(10**6))}[damage])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz.*call again"):
        load_fashion_mnist(download_if_missing=False)
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        load_fashion_mnist(download_if_missing=False)


def test_a_bad_file_of_the_users_stays_where_it_is(small_files, tmp_path):
    put(tmp_path / "home", {**small_files, "train-labels-idx1-ubyte": b"nonsense"})
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte\.gz is not .*data_home="):
        load_fashion_mnist(data_home=tmp_path / "home")
    assert (tmp_path / "home/train-labels-idx1-ubyte.gz").exists()


@pytest.mark.parametrize("subset", ["valid", np.array(["train", "test"]), None], ids=str)
def test_unknown_subset(subset):
    with pytest.raises(ValueError, match="subset must be 'train', 'test' or 'all', got subset="):
        load_fashion_mnist(subset)


@pytest.mark.parametrize(("data_home", "error", "message"), [
    (3, TypeError, "data_home must be a string or a pathlib.Path, got data_home=3"),
    ("~nosuchuser/x", ValueError, "data_home must be in the home folder of an existing user, got data_home='~nosuch"),
    ("a\0b", ValueError, "data_home must be a valid file name, got data_home='a"),
], ids=repr)
def test_what_is_no_folder_is_named(data_home, error, message, monkeypatch):
    with pytest.raises(error, match=message):
        load_fashion_mnist(data_home=data_home)
    if isinstance(data_home, str) and "\0" not in data_home:
        monkeypatch.setenv("FMNIST_SK_DATA", data_home)
        with pytest.raises(ValueError, match="FMNIST_SK_DATA must be in the home folder of an existing user"):
            load_fashion_mnist()


# ---------------------------------------------------------------------- a server that fails, stalls, truncates and lies

class Server(http.server.ThreadingHTTPServer):
    """Serves gzipped files; `behaviour` names what it does to the first `times` requests of each file."""

    def __init__(self, contents, behaviour="", times=1):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{name}.gz": gzip.compress(content) for name, content in contents.items()}
        self.behaviour, self.times, self.requests, self.dripped = behaviour, times, [], []
        self.mutex = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        with server.mutex:
            server.requests.append(self.path)
            behaviour = server.behaviour if server.requests.count(self.path) <= server.times else ""
        body = server.files[self.path]
        if behaviour == "fail":
            self.send_error(503)
            return
        if behaviour == "lie":
            body = gzip.compress(b"something else entirely")
        self.send_response(200)
        if behaviour != "truncate silently":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "stall":
            time.sleep(2)
            return
        if behaviour == "slow":
            time.sleep(0.5)
        if behaviour == "drip":
            for byte in body[:100]:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.1)
            server.dripped.append(self.path)
            return
        with contextlib.suppress(OSError):
            self.wfile.write(body[:len(body) // 2] if behaviour.startswith("truncate") else body)


@pytest.mark.parametrize("behaviour", ["", "fail", "stall", "truncate", "truncate silently", "lie"])
def test_downloads_despite_a_bad_start(behaviour, small_files, tmp_path, monkeypatch, capsys):
    with Server(small_files, behaviour) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        bunch = load_fashion_mnist("test")
        assert bunch.data.tobytes() == small_files["t10k-images-idx3-ubyte"][16:]
        assert len(server.requests) == (2 if not behaviour else 4)
        load_fashion_mnist("test")
        assert len(server.requests) == (2 if not behaviour else 4)      # from the cache now
    cache = tmp_path / "cache/fmnist_sk"
    assert not list(cache.glob("*.part"))
    assert (cache / "t10k-images-idx3-ubyte.gz").stat().st_mode & 0o044
    progress = capsys.readouterr().err
    assert f"downloading {server.address}t10k-images-idx3-ubyte.gz\n" in progress
    assert "\r" not in progress                                         # stderr is no terminal here


def test_a_terminal_sees_how_far_a_download_is(small_files, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Server(small_files) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        load_fashion_mnist("test")
    assert "\rt10k-images-idx3-ubyte.gz: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("behaviour", ["fail", "stall", "truncate", "truncate silently", "lie"])
def test_a_server_that_stays_bad_leaves_nothing_behind(behaviour, small_files, tmp_path, monkeypatch):
    with Server(small_files, behaviour, times=99) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        monkeypatch.setattr(download, "TIMEOUT", 0.3)
        with pytest.raises(FileNotFoundError, match="3 attempts failed: http://127"):
            load_fashion_mnist("test", data_home=tmp_path / "home")
        assert len(server.requests) == 3
    assert [path.suffix for path in (tmp_path / "home").iterdir()] in ([".lock"], [])


def test_the_second_address_serves_where_the_first_fails(small_files, monkeypatch):
    with Server(small_files) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", ("http://127.0.0.1:9/", server.address))
        assert len(load_fashion_mnist("train").target) == 20
        assert len(server.requests) == 2


def test_endless_content_is_cut_off(small_files, monkeypatch):
    with Server(small_files) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        monkeypatch.setattr(download, "MAX_BYTES", 1000)
        with pytest.raises(FileNotFoundError, match="more than 1000 bytes"):
            load_fashion_mnist("train")


def test_a_server_that_drips_is_given_up(small_files, monkeypatch):
    with Server(small_files, "drip") as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        monkeypatch.setattr(download, "DEADLINE", 0.5)
        assert len(load_fashion_mnist("test").target) == 20
        assert len(server.requests) == 4
        assert not server.dripped                       # none of the slow answers was waited for to its end


def test_parallel_processes_download_once(small_files, monkeypatch):
    with Server(small_files, "slow", times=99) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        context = multiprocessing.get_context("fork")        # children inherit the patched tables
        processes = [context.Process(target=load_fashion_mnist, args=("train",)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4
        assert sorted(server.requests) == ["/train-images-idx3-ubyte.gz", "/train-labels-idx1-ubyte.gz"]


def test_leftovers_of_a_killed_download_go_away(small_files, tmp_path, monkeypatch):
    cache = tmp_path / "cache/fmnist_sk"
    cache.mkdir(parents=True)
    (cache / f".train-images-idx3-ubyte.gz.{'0' * 32}.part").write_bytes(b"half")
    with Server(small_files) as server:
        monkeypatch.setattr(datasets, "ADDRESSES", (server.address,))
        load_fashion_mnist("train")
    assert not list(cache.glob("*.part"))


def test_read_only_folder(small_files, closable_folder, monkeypatch):
    folder, close = closable_folder
    monkeypatch.setattr(datasets, "SYSTEM_FOLDER", folder)          # into which every user may look
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    close()
    with pytest.raises(FileNotFoundError, match=f"{folder} cannot be written to"):
        load_fashion_mnist(data_home=folder)

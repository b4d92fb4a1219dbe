"""Settings that must be in place before NumPy, SciPy and PyTorch are imported, and data for many tests."""
import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

os.environ["SCIPY_ARRAY_API"] = "1"          # or scikit-learn skips its array API check
os.environ["OMP_NUM_THREADS"] = "1"          # many small fits are far slower with two threads
os.environ["MPLBACKEND"] = "agg"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"       # for torch.use_deterministic_algorithms on CUDA
if "PYTEST_XDIST_WORKER" not in os.environ:  # one folder for all processes of a run: names of tests contain it
    os.environ["FMNIST_SK_TEST_FOLDER"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["FMNIST_SK_TEST_FOLDER"])

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
pytest.register_assert_rewrite("interrupted", "scripts")


def make_images(labels=(0, 1, 2), n=60, size=8, channels=None, seed=0):
    """n images (n, size, size) or (n, channels, size, size) uint8, and one of `labels` for each.

    Every class has a patch of its own place and brightness; the rest is dim noise.
    """
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % len(labels)
    X = rng.integers(0, 60, (n, channels or 1, size, size), dtype=np.uint8)
    half = size // 2
    corners = [(0, 0), (half, half), (0, half), (half, 0)]
    for image, code in zip(X, codes, strict=True):
        row, column = corners[code % 4]
        image[:, row:row + half, column:column + half] += np.uint8(150 - 30 * (code % 4) - 8 * (code // 4))
    return (X if channels else X[:, 0]), np.array(labels)[codes]


@pytest.fixture
def heeds_ctrl_c():
    """Background jobs of a shell ignore it, and so do their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def closable_folder():
    """A folder, and a function that closes it to writing, for the rest of the test also by root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)

        def close():
            folder.chmod(0o555)
            os.seteuid(user or 65534)

        yield folder, close
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.fixture(autouse=True)
def one_thread():
    """Nothing leaves PyTorch with more threads, which would slow all later tests."""
    yield
    assert torch.get_num_threads() == 1


@pytest.fixture
def tiny_images():
    return make_images


@pytest.fixture(scope="session")
def named_images():
    """60 images of three classes with names, and their labels."""
    return make_images(["bag", "coat", "shirt"])


@pytest.fixture
def no_window(monkeypatch):
    """Pictures are drawn and not shown, and are closed after the test."""
    import matplotlib.pyplot as plt
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a picture was shown"))
    yield
    plt.close("all")


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="PyTorch finds no CUDA device"))


@pytest.fixture(scope="module")
def train():
    """examples/train.py."""
    from trained import load_train
    return load_train()


@pytest.fixture(scope="module")
def values(train):
    """examples/_values.py, which train.py imports."""
    return sys.modules["_values"]


@pytest.fixture(scope="session", autouse=True)
def files_of_the_system_are_read_once():
    """The data set's files in the system's folder are decompressed once in a process; each load gets a copy."""
    from fmnist_sk import datasets
    known, read, folder = {}, datasets._read, datasets.SYSTEM_FOLDER

    def read_once(path, file, **options):
        if path.parent != folder:
            return read(path, file, **options)
        if path not in known:
            known[path] = read(path, file, **options)
        return known[path].copy()

    datasets._read = read_once
    yield
    datasets._read = read

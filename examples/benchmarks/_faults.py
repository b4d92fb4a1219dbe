"""Faults for reliability.py: processes that are killed, damaged files, a full disk. Each part returns its counts."""
from __future__ import annotations

import collections
import contextlib
import gzip
import hashlib
import io
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from pathlib import Path

import fuzzing
import numpy as np
from conftest import make_images
from estimators import small
from fuzzing import no_file_beyond
from PIL import Image

from fmnist_sk import PhotoToFashion, load, load_csv, save
from fmnist_sk._checkpoint import FitFile
from fmnist_sk._download import download
from fmnist_sk.datasets import _File, _verify
from fmnist_sk.networks._inception_v3 import InceptionV3, load_checkpoint

# ---------------------------------------------------------------------- SIGKILL

BEGIN = """
    import sys
    from pathlib import Path
    import numpy as np
    from fmnist_sk import *
    folder = Path(sys.argv[1])
    X, y = np.random.default_rng(0).integers(0, 256, (600, 12, 12), dtype=np.uint8), np.arange(600) % 3
    net = ConvNetClassifier(architecture="16C3-MP2-16N", max_epochs=12, random_state=0, checkpoint=folder)
    print("begin", flush=True)
"""
KILLED = {          # each ends with what it found; a second run goes on with what the first has left
    "fit": """
        net.set_params(validation_fraction=0.2, augment="light", ema=0.9).fit(X, y)
        print(net.predict_proba(X).tobytes().hex())
    """,
    "search": """
        from sklearn.model_selection import GridSearchCV
        net.set_params(keep_checkpoint=True, max_epochs=4)
        found = GridSearchCV(net, {"lr": [1e-4, 1e-3, 1e-2]}, cv=2).fit(X, y)
        print(found.cv_results_["mean_test_score"].tobytes().hex(), found.predict_proba(X).tobytes().hex())
    """,
    "save": """
        net.set_params(checkpoint=None, max_epochs=1).fit(X, y)
        for _ in range(20):
            save(net, folder / "model.safetensors")
            assert (load(folder / "model.safetensors").predict_proba(X) == net.predict_proba(X)).all()
        print(net.predict_proba(X).tobytes().hex())
    """,
    "download": """
        import http.server, threading, time
        from fmnist_sk._download import download

        content = np.random.default_rng(0).bytes(10**6)

        class Slow(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for start in range(0, len(content), 10**4):
                    self.wfile.write(content[start:start + 10**4])
                    time.sleep(0.005)

        def verify(path):
            if path.read_bytes() != content:
                raise ValueError("it sent something else")

        server = http.server.HTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download([f"http://127.0.0.1:{server.server_port}/"], folder / "content", verify)
        print((folder / "content").read_bytes() == content, [path.name for path in folder.glob("*.part")])
    """,
}


def is_whole(folder: Path) -> bool:
    """Whether what a killed process left under its final name can be read."""
    content, model = folder / "content", folder / "model.safetensors"
    try:
        if model.exists():
            load(model)
    except ValueError:
        return False
    return not content.exists() or content.read_bytes() == np.random.default_rng(0).bytes(10**6)


def kills(args) -> dict:
    """Processes killed at random moments, and what they lead to beside what it would have been."""
    rng, rows = random.Random(args.seed), {}
    for name, code in KILLED.items():
        def start(folder, code=code):
            process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(code), folder],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            process.stdout.readline()
            return process

        with tempfile.TemporaryDirectory() as whole:
            process, began = start(whole), time.perf_counter()
            expected = process.communicate()[0]
            duration = time.perf_counter() - began
        if process.returncode or not expected:
            raise RuntimeError(f"{name} fails also where nothing kills it.")
        injected = lost = 0
        while injected < args.faults:
            with tempfile.TemporaryDirectory() as folder:
                process = start(folder)
                time.sleep(rng.uniform(0, duration))
                process.send_signal(signal.SIGKILL)
                if not process.communicate()[0]:        # else it was at its end
                    injected += 1
                    lost += not is_whole(Path(folder)) or start(folder).communicate()[0] != expected
        rows[name] = {"injected": injected, "lost": lost}
        print(f"kills of {name}: {rows[name]}", flush=True)
    return rows


# ---------------------------------------------------------------------- damaged files

def formats(folder: Path) -> dict:
    """For each format a whole file, and a function that reads a file of this name and returns what it holds as bytes.
    """
    X, y = make_images()
    model = small("ConvNetClassifier", max_epochs=2).fit(X, y)
    save(model, folder / "model.safetensors")
    small("ConvNetClassifier", max_epochs=2, checkpoint=folder / "fits", keep_checkpoint=True).fit(X, y)
    checkpoint = shutil.copy(next((folder / "fits").iterdir()), folder)
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.arange(20) % 10, rng.integers(0, 256, (20, 784))])
    (folder / "images.csv.gz").write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode()))
    content = bytes(16) + rng.bytes(20 * 784)
    (folder / "idx.gz").write_bytes(gzip.compress(content))
    idx = _File("idx", 16, len(content), hashlib.sha256(content).hexdigest())
    shutil.copy(small("InceptionV3Classifier").weights, folder / "weights.pth")
    Image.fromarray(make_images(n=1, size=64)[0][0]).save(folder / "photo.png")

    def read_checkpoint(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                content = FitFile._load(path)
            except UserWarning as error:
                raise ValueError(str(error)) from error
        return b"".join(value.numpy().tobytes() for value in content["module"].values())

    def read_weights(path):
        network = InceptionV3(n_classes=None, width=0.1)
        load_checkpoint(network, path)
        return b"".join(value.numpy().tobytes() for value in network.state_dict().values())

    return {
        "model": (folder / "model.safetensors", lambda path: load(path).predict_proba(X).tobytes()),
        "checkpoint": (Path(checkpoint), read_checkpoint), "weights": (folder / "weights.pth", read_weights),
        "CSV, compressed": (folder / "images.csv.gz", lambda path: b"".join(
            part.tobytes() for part in load_csv(path, return_X_y=True))),
        "IDX": (folder / "idx.gz", lambda path: bytes(_verify(path, idx))),
        "photo, PNG": (folder / "photo.png", lambda path: PhotoToFashion().fit_transform([str(path)]).tobytes()),
    }


def damage(args) -> dict:
    """Files of every format cut off, with a bit flipped, partly overwritten, or swapped for another format's."""
    rng, rows = random.Random(args.seed), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = formats(folder)
        contents = {kind: path.read_bytes() for kind, (path, _) in known.items()}
        for kind, (path, read) in known.items():
            counts, whole = collections.Counter(), contents[kind]
            expected = read(path)
            damaged = [other for swapped, other in contents.items() if swapped != kind]
            for i in range(args.damages - len(damaged)):
                data = bytearray(whole)
                if i % 3 == 0:
                    del data[rng.randrange(len(data)):]
                elif i % 3 == 1:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                else:
                    begin, end = sorted(rng.randrange(len(data)) for _ in range(2))
                    data[begin:end] = rng.randbytes(end - begin)
                damaged.append(data)
            for data in damaged:
                path.write_bytes(data)
                try:
                    with fuzzing.time_limit(), warnings.catch_warnings(action="ignore"):
                        counts["read as before" if read(path) == expected else "read as something else"] += 1
                except (ValueError, TypeError):
                    counts["refused"] += 1
                except Exception as error:
                    counts[f"{type(error).__name__}: {error}"[:100]] += 1
            rows[kind] = {"injected": len(damaged), "counts": dict(counts),
                          "lost": len(damaged) - counts["read as before"] - counts["refused"]}
            print(f"damage of {kind}: {rows[kind]}", flush=True)
    return rows


# ---------------------------------------------------------------------- a full disk

def saves(rng, folder: Path) -> bool:
    """Whether a model that another could not replace is still there, and nothing else."""
    X, y = make_images()
    old, new = (small("ConvNetClassifier", max_epochs=1, random_state=seed).fit(X, y) for seed in (0, 1))
    path = save(old, folder / "model.safetensors")
    with no_file_beyond(rng.randrange(path.stat().st_size)), contextlib.suppress(OSError):
        save(new, path)
        return False
    return (load(path).predict_proba(X) == old.predict_proba(X)).all() and list(folder.iterdir()) == [path]


def checkpoints(rng, folder: Path) -> bool:
    """Whether a fit that could not keep its state ends as it would have, and so does the next."""
    X, y = make_images()
    expected, *found = (small("ConvNetClassifier", max_epochs=4, checkpoint=place) for place in (None, folder, folder))
    expected.fit(X, y)
    with no_file_beyond(rng.randrange(20_000)):
        found[0].fit(X, y)
    found[1].fit(X, y)
    return all((one.predict_proba(X) == expected.predict_proba(X)).all() for one in found)


def caches(rng, folder: Path) -> bool:
    """Whether a download that found no room leaves nothing behind, and is whole the next time."""
    source, target = folder / "source", folder / "cache" / "content"
    source.write_bytes(content := rng.randbytes(100_000))
    with no_file_beyond(rng.randrange(len(content))), contextlib.suppress(OSError):
        download([source.as_uri()], target, lambda path: None)
        return False
    leftovers = {path.name for path in target.parent.iterdir()} - {"content.lock"}
    download([source.as_uri()], target, lambda path: None)
    return not leftovers and target.read_bytes() == content


def full_disk(args) -> dict:
    """Files cannot grow beyond a random size: what was there stays, and fits go on."""
    rng, rows = random.Random(args.seed), {}
    for name, is_kept in {"save": saves, "checkpoint": checkpoints, "cache": caches}.items():
        lost = 0
        for _ in range(args.faults):
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"), \
                    contextlib.redirect_stderr(io.StringIO()):
                lost += not is_kept(rng, Path(folder))
        rows[name] = {"injected": args.faults, "lost": lost}
        print(f"full disk at {name}: {rows[name]}", flush=True)
    return rows

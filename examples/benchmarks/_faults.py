"""Faults for reliability.py: damaged files, a full disk. Each part returns its counts."""
from __future__ import annotations

import collections
import contextlib
import gzip
import hashlib
import io
import random
import shutil
import tempfile
import warnings
from pathlib import Path

import fuzzing
import numpy as np
import pytest
from conftest import make_images
from estimators import small
from fuzzing import no_file_beyond
from interrupted import check_checkpoint_outlives_a_full_disk
from PIL import Image

from fmnist_sk import PhotoToFashion, load, load_csv, save
from fmnist_sk._storage.download import download
from fmnist_sk._storage.fingerprint import fingerprint
from fmnist_sk._storage.fit_file import FitFile
from fmnist_sk.datasets import _File, _verify
from fmnist_sk.networks._inception_v3 import InceptionV3, load_checkpoint


def formats(folder: Path) -> dict:
    """For each format a whole file, and a function that reads a file of this name and returns what it holds.
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
    photos = {kind: folder / f"photo.{kind.lower()}" for kind in ("PNG", "JPEG", "GIF")}
    for path in photos.values():
        Image.fromarray(make_images(n=1, size=64)[0][0]).save(path)

    def read_checkpoint(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                content = FitFile._load(path)
            except UserWarning as error:
                raise ValueError(str(error)) from error
        return fingerprint(content)

    def read_weights(path):
        network = InceptionV3(width=0.1)
        load_checkpoint(network, path)
        return b"".join(value.numpy().tobytes() for value in network.state_dict().values())

    return {
        "model": (folder / "model.safetensors", lambda path: load(path).predict_proba(X).tobytes()),
        "checkpoint": (Path(checkpoint), read_checkpoint), "weights": (folder / "weights.pth", read_weights),
        "CSV, compressed": (folder / "images.csv.gz", lambda path: b"".join(
            part.tobytes() for part in load_csv(path, return_X_y=True))),
        "IDX": (folder / "idx.gz", lambda path: bytes(_verify(path, idx))),
        **{f"photo, {kind}": (path, lambda path: PhotoToFashion().fit_transform([str(path)]).tobytes())
           for kind, path in photos.items()},
    }


NO_CHECKSUMS = "photo, JPEG", "photo, GIF"          # what is changed in them may be another picture


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
            damaged = [other for swapped, other in contents.items() if swapped.split(",")[0] != kind.split(",")[0]]
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
            allowed = ["read as before", "refused"]
            rows[kind] = {"injected": len(damaged), "counts": dict(counts)}
            if kind in NO_CHECKSUMS:
                allowed.append("read as something else")
                rows[kind]["note"] = f"{counts[allowed[-1]]} read as something else: the format has no checksums"
            rows[kind]["lost"] = len(damaged) - sum(counts[outcome] for outcome in allowed)
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
    """Whether the checkpoint of an epoch outlives a fit that cannot keep those of later ones and is interrupted."""
    n, size = rng.randrange(1, 4), rng.randrange(240_000)
    try:
        check_checkpoint_outlives_a_full_disk(*make_images(), folder, n, size)
    except (Exception, pytest.fail.Exception):
        return False
    return True


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

"""Parts of peers.py in which every fit has a process of its own: accuracy, time and memory."""
from __future__ import annotations

import importlib
import math
import time
from pathlib import Path

import numpy as np
import torch
from _sides import start
from _task import NEEDS, Task, images, installed, synchronized
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from fmnist_sk import ConvNetClassifier, HOGTransformer, ImageScaler, load_fashion_mnist

# ---------------------------------------------------------------------- whole fits, each in a process of its own

DEEP = ["fmnist_sk", "hand-written loop", "skorch out of the box", "Lightning", "Keras"]
CLASSICAL = {
    "HOG + SVC": lambda seed: make_pipeline(HOGTransformer(), SVC(C=10, cache_size=1000)),
    "SVC on 100 principal components": lambda seed: make_pipeline(
        ImageScaler(), PCA(100, random_state=seed), SVC(C=10, cache_size=1000)),
    "random forest": lambda seed: RandomForestClassifier(n_jobs=-1, random_state=seed),
    "HistGradientBoosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "k-NN": lambda seed: KNeighborsClassifier(n_jobs=-1),
    "LogisticRegression": lambda seed: make_pipeline(ImageScaler(), LogisticRegression(max_iter=300)),
    "MLPClassifier": lambda seed: make_pipeline(ImageScaler(), MLPClassifier(
        256, early_stopping=True, random_state=seed)),
}


def fit_rows(args):
    """Every seed for networks, the first one for scikit-learn's own."""
    sides = installed([*DEEP, *CLASSICAL])
    return [f"{side} {seed}" for seed in args.seeds for side in sides if side in DEEP or seed == args.seeds[0]]


def fits(name, args):
    side, _, seed = name.rpartition(" ")
    device = torch.device(args.device)
    if side in NEEDS:
        importlib.import_module(NEEDS[side][0])
    (X, y), test = images(args, 60_000), load_fashion_mnist("test")
    before = memory("VmRSS")
    if side in DEEP:
        begin = synchronized(device)
        train, predict = start(side, Task("cnn", X, y, device, int(seed)))
        train(args.epochs)
    else:
        model = CLASSICAL[side](int(seed))
        predict = model.predict
        X, test.images = X.reshape(len(X), -1), test.data
        n = affordable(lambda n: model.fit(X[:n], y[:n]), len(X), 60 * args.minutes)
        X, y = X[:n], y[:n]
        begin = synchronized(device)
        model.fit(X, y)
    fitted = synchronized(device)
    hits = predict(test.images) == test.target
    return {"side": side, "seed": int(seed), "images": len(X), "minutes": args.minutes,
            "test_accuracy": float(hits.mean()), "fit_seconds": fitted - begin,
            "predict_seconds": synchronized(device) - fitted,
            "mib_before": before, "mib_peak": max(before, memory("VmHWM")),        # which the kernel rounds
            "mib_peak_on_device": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None}


def affordable(fit, n, limit):
    """How many of n images a fit may have to take about `limit` seconds, after trials with 1,000, 2,000, ... images."""
    seconds, size = [], 1_000
    while size <= n / 2:
        begin = time.perf_counter()
        fit(size)
        seconds.append(time.perf_counter() - begin)
        if seconds[-1] > limit / 20:            # long enough to tell how it grows
            power = min(3.0, max(1.0, math.log2(seconds[-1] / seconds[-2]))) if len(seconds) > 1 else 2.0
            return min(n, int(size * (limit / seconds[-1]) ** (1 / power)))
        size *= 2
    return n


def memory(field):
    """MiB of this process: VmRSS is what it has, VmHWM the most that it had.

    Not getrusage's ru_maxrss, which on Linux a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


# ---------------------------------------------------------------------- time and memory of more and more images

def scaling(name, args):
    """The peak is above what the process had before the data were made, after a small fit that loads libraries."""
    def new():
        return ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", max_epochs=1, device=args.device, random_state=0)

    new().fit(*enlarged(512))
    before = memory("VmRSS")
    X, y = enlarged(int(name))
    Path("/proc/self/clear_refs").write_text("5")           # VmHWM is VmRSS again
    begin = time.perf_counter()
    classifier = new().fit(X, y)
    seconds = time.perf_counter() - begin
    above, data = memory("VmHWM") - before, X.nbytes / 2**20
    network = sum(p.numel() * p.element_size() for p in classifier.module_.parameters()) / 2**20
    return {"images": len(X), "fit_seconds": seconds, "seconds_per_image": seconds / len(X), "mib_data": data,
            "mib_network": network, "mib_peak_above_start": above, "multiple": above / (data + network)}


def enlarged(n):
    """n images uint8: the training images, if need be repeated with noise."""
    X, y = load_fashion_mnist(return_X_y=True)
    rng, more = np.random.default_rng(0), np.empty((n, 784), np.uint8)
    for first in range(0, n, 1000):                         # in pieces, whose noise takes little memory
        rows = np.arange(first, min(n, first + 1000)) % len(X)
        noise = rng.integers(-8, 9, (len(rows), 784), np.int16) * (first >= len(X))
        more[first:first + 1000] = np.clip(X[rows] + noise, 0, 255)
    return more, y[np.arange(n) % len(X)]

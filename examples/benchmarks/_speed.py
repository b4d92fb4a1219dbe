"""Parts of peers.py that take times in turn: epochs of all ways, predictions, matrix products."""
from __future__ import annotations

import statistics
import time

import _measure
import numpy as np
import torch
from _sides import WAYS, start, trained_on
from _task import BATCH_SIZE, NETWORKS, Task, autocast, channels_last, images, installed, precision, synchronized

from fmnist_sk import ImageClassifier, ResNetClassifier, load_fashion_mnist, load_pretrained, summary
from fmnist_sk._network.rows import MIN_ROWS
from fmnist_sk._runtime.cpu import use_cpu

CALLS, WARM_UP = 200, 20                # of one image, for the latency
MATRICES = 512, 1024, 2048, 4096        # sizes of the products that look for the processor's peak
NAME = "fmnist_sk"


def keeping_memory(function, *arguments):
    """A side for `alternate`: all of them keep memory between steps as this package's fits do."""
    def side():
        with use_cpu(None):
            return function(*arguments)
    return side


# ---------------------------------------------------------------------- one epoch, all ways in one process

def epochs(network, args):
    device = torch.device(args.device)
    task = Task(network, *images(args, 6_400), device)
    sides = {way: keeping_memory(start(way, task)[0], 1) for way in installed(WAYS)}
    times = _measure.alternate(sides, args.rounds)
    return {"parameters": sum(p.numel() for p in NETWORKS[network]().parameters()), "images": len(task.X),
            "batch_size": BATCH_SIZE, "precision": str(precision(device)), "seconds": times,
            f"{NAME} / other": {way: _measure.ratio(times[NAME], seconds) for way, seconds in times.items()},
            f"other / {NAME}": {way: _measure.ratio(seconds, times[NAME]) for way, seconds in times.items()}}


# ---------------------------------------------------------------------- predictions

CLASSIFIERS = {
    "ResNetClassifier": lambda device: ResNetClassifier(max_epochs=1, device=device, random_state=0).fit(
        *(values[:512] for values in load_fashion_mnist(return_X_y=True))),
    "pretrained": lambda device: load_pretrained(device=device),
}


def inference(name, args):
    """predict_proba against the network alone: latency of one image, throughput of many in one call."""
    classifier = CLASSIFIERS[name](args.device)
    module, device = classifier.module_.eval(), classifier.device_
    X = load_fashion_mnist().images[:args.images or 10_000]

    def bare(X):
        with torch.inference_mode(), autocast(device):
            parts = torch.from_numpy(X)[:, None].to(device).split(classifier.batch_size)
            return torch.cat([module(channels_last(part)).float().softmax(1) for part in parts]).cpu().numpy()

    def seconds(function, X):
        begin = time.perf_counter()
        function(X)                             # ends in host memory, so there is nothing to wait for
        return time.perf_counter() - begin

    classifier.predict_proba(X[:1])
    rows = classifier._rows_for(1)              # to which a single image is padded
    functions, found = {NAME: classifier.predict_proba, "bare module": bare}, {}
    for n, rounds in ((1, WARM_UP + CALLS), (len(X) // 10, args.rounds), (len(X), args.rounds)):
        sides = {side: keeping_memory(seconds, function, X[:n]) for side, function in functions.items()}
        if n == 1:
            sides["padded"] = keeping_memory(seconds, bare, X[:rows])
        times = _measure.alternate(sides, rounds, verbose=n > 1)
        times = {side: values[WARM_UP if n == 1 else 0:] for side, values in times.items()}
        found[str(n)] = {"median_ms": {side: 1e3 * statistics.median(values) for side, values in times.items()},
                         "p95_ms": {side: 1e3 * float(np.quantile(values, 0.95)) for side, values in times.items()},
                         f"{NAME} / bare module": _measure.ratio(times[NAME], times["bare module"])}
    return {"rows": rows, "fewest_independent_rows": {
                str(dtype): fewest_rows(module, X[:960], dtype, device) for dtype in (torch.bfloat16, torch.float32)},
            "precision": str(precision(device)), "batch_size": classifier.batch_size, "calls": found,
            "largest_difference": float(np.abs(classifier.predict_proba(X[:1000]) - bare(X[:1000])).max())}


def fewest_rows(module, X, dtype, device):
    """From how many rows on a network gives an image the same bits, whatever else is in its batch."""
    x = torch.from_numpy(X)[:, None].to(device)

    @torch.inference_mode()
    def logits(size):
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return torch.cat([module(channels_last(part)) for part in x.split(size) if len(part) == size])

    expected = logits(len(x))
    found = {size: logits(size) for size in range(1, MIN_ROWS + 1)}
    return 1 + max((size for size, some in found.items() if not some.equal(expected[:len(some)])), default=0)


# ---------------------------------------------------------------------- share of the processor's peak

TRAINED = {"ResNetClassifier": lambda **settings: ResNetClassifier(**settings),
           "cnn": lambda **settings: ImageClassifier(module=NETWORKS["cnn"], standardize=False, **settings)}


def peak(name, args):
    """Matrix products and epochs in turn; an epoch is three passes of two operations for each multiply-add."""
    device = torch.device(args.device)
    classifier = TRAINED[name](device=args.device, random_state=0)
    X, y = images(args, 6_400)
    multiply_adds = int(summary(classifier).loc["total", "multiply_adds"])
    operations = {"training": 6 * multiply_adds * len(X)}
    sides = {"training": keeping_memory(trained_on(classifier, X, y), 1)}
    for dtype in (torch.float32, torch.bfloat16):
        for size in MATRICES:
            side = f"{dtype} {size}"
            operations[side] = 2 * size**3
            sides[side] = keeping_memory(product_seconds, torch.randn(size, size, device=device).to(dtype))
    times = _measure.alternate(sides, args.rounds)
    speeds = {side: operations[side] / statistics.median(values) / 1e9 for side, values in times.items()}
    peaks = {str(dtype): max(speeds[f"{dtype} {size}"] for size in MATRICES)
             for dtype in (torch.float32, torch.bfloat16)}
    return {"multiply_adds": multiply_adds, "images": len(X), "precision": str(precision(device)), "gflops": speeds,
            "peak_gflops": peaks, "share": speeds["training"] / peaks[str(precision(device))]}


def product_seconds(matrix):
    begin = synchronized(matrix.device)
    matrix @ matrix
    return synchronized(matrix.device) - begin

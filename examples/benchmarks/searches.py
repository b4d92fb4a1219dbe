"""What a search costs: one candidate at a time, two at a time, halving, and halving that continues fits; its memory.

    python examples/benchmarks/searches.py            # times, in alternating rounds
    python examples/benchmarks/searches.py --memory   # host and device memory over 100 fits
    python examples/benchmarks/searches.py --together # members of an ensemble trained together and in turn

Writes results/searches.json, on a GPU searches_cuda.json, where each of these commands replaces its own part. Run
nothing else meanwhile.
"""
import argparse
import gc
import json
import tempfile
import time
from pathlib import Path

import _measure
import joblib
import numpy as np
import torch
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, StratifiedKFold

from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, ResNetClassifier, load_fashion_mnist, reference_system

GRID = {"lr": [5e-4, 2e-3, 8e-3], "dropout": [0.0, 0.2, 0.4]}
EPOCHS = 9
ENSEMBLES = {
    "default ResNet": lambda **params: ResNetClassifier(**params),
    "ResNet of 24,506 parameters": lambda **params: ResNetClassifier(width=16, stem="16C3-MP2ceil", hidden=0, pool=4,
                                                                     dropout=0.0, **params),
    "simple_cnn": lambda **params: reference_system("simple_cnn", validation_fraction=None, **params),
}


def searches(X, y, device):
    """For each way, a function that runs the search and returns its seconds and its best candidate."""
    net = ConvNetClassifier(architecture="32C3-MP2-64C3-MP2-128N", schedule="one_cycle", max_epochs=EPOCHS,
                            schedule_epochs=EPOCHS, random_state=0, device=device)
    folds = StratifiedKFold(2, shuffle=True, random_state=0)

    def run(kind, n_jobs=1, n_threads=None, backend="loky", continued=False, **params):
        with tempfile.TemporaryDirectory() as folder:
            estimator = net.set_params(n_threads=n_threads, checkpoint=folder if continued else None,
                                       keep_checkpoint=continued)
            start = time.perf_counter()
            with joblib.parallel_config(backend, n_jobs=n_jobs):
                found = kind(estimator, GRID, cv=folds, refit=False, **params).fit(X, y)
            seconds = time.perf_counter() - start
        scores = found.cv_results_["mean_test_score"]
        return seconds, {"best": found.cv_results_["params"][int(np.argmax(scores))], "score": float(scores.max())}

    halving = {"resource": "max_epochs", "min_resources": 1, "max_resources": EPOCHS, "factor": 3, "random_state": 0}
    return {
        "serial": lambda: run(GridSearchCV),
        "2 workers": lambda: run(GridSearchCV, n_jobs=2),
        "2 threads": lambda: run(GridSearchCV, n_jobs=2, n_threads=max(1, joblib.cpu_count() // 2),
                                 backend="threading"),
        "halving": lambda: run(HalvingGridSearchCV, **halving),
        "halving, continued": lambda: run(HalvingGridSearchCV, continued=True, **halving),
    }


def measure_times(X, y, device, rounds):
    found, sides = {}, {}
    for name, search in searches(X, y, device).items():
        def side(name=name, search=search):
            seconds, found[name] = search()
            return seconds
        sides[name] = side
    seconds = _measure.alternate(sides, rounds)
    return {"images": len(X), "epochs": EPOCHS, "grid": GRID, "folds": 2, "rounds": rounds, "device": device,
            "seconds": seconds, "found": found,
            "relative to serial": {name: _measure.ratio(times, seconds["serial"]) for name, times in seconds.items()}}


def is_cuda(device):
    return torch.device(device).type == "cuda"


def memory(device):
    """Resident host memory of this process, and what PyTorch holds on the device, in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    on_device = torch.cuda.memory_allocated(device) / 2**20 if is_cuda(device) else 0.0
    return {"host": pages * 4096 / 2**20, "device": on_device}


def measure_memory(X, y, device, n_fits=100):
    """Over `n_fits` fits of a search in this process. The first ten fill caches and are not compared."""
    found = []
    for i in range(n_fits // 10):
        grid = {"lr": np.geomspace(1e-3, 1e-2, 5).tolist()}
        GridSearchCV(ConvNetClassifier(architecture="32C3-MP2-64C3-MP2-128N", max_epochs=1, random_state=i,
                                       device=device), grid, cv=2, refit=False).fit(X, y)
        found.append({"fits": 10 * (i + 1), **memory(device)})
        print(found[-1], flush=True)
    growth = {part: found[-1][part] - found[0][part] for part in ("host", "device")}
    return {"images": len(X), "device": device, "after": found, "growth_from_10_fits_on": growth}


def measure_together(X, y, device, rounds, n_members=4):
    """Training time of an ensemble together, relative to its members in turn, and the members' mean accuracy."""
    result, half = {}, len(X) // 2
    X, X_other, y, y_other = X[:half], X[half:], y[:half], y[half:]
    for name, make in ENSEMBLES.items():
        accuracy = {}
        def side(together, make=make, accuracy=accuracy):
            def run():
                ensemble = DeepEnsembleClassifier(make(max_epochs=1, device=device), n_members, together=together,
                                                  random_state=0)
                start = time.perf_counter()
                ensemble.fit(X, y)
                if is_cuda(device):
                    torch.cuda.synchronize(device)
                seconds = time.perf_counter() - start
                accuracy["together" if together else "in turn"] = float(np.mean(
                    [member.score(X_other, y_other) for member in ensemble.estimators_]))
                return seconds
            return run
        seconds = _measure.alternate({"together": side(True), "in turn": side(False)}, rounds)
        result[name] = {"seconds": seconds, "accuracy": accuracy,
                        "together / in turn": _measure.ratio(seconds["together"], seconds["in turn"])}
        print(name, result[name]["together / in turn"], flush=True)
    return {"images": len(X), "members": n_members, "rounds": rounds, "device": device, "networks": result}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--together", action="store_true", help="measure ensembles instead")
    parser.add_argument("--images", type=_measure.count, help="training images (default: 4,000; with --memory "
                        "1,000)")
    parser.add_argument("--rounds", type=_measure.count, default=6, help="alternating rounds (default: 6)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: searches, or "
                        "searches_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("searches", args.device)
    args.images = args.images or (1000 if args.memory else 4000)
    data = load_fashion_mnist("train")

    def first(n):
        return data.images[:n], data.target[:n]

    path = _measure.RESULTS / f"{args.name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content.pop("environment", None)
    if args.memory:
        content["memory"] = measure_memory(*first(args.images), args.device)
    elif args.together:
        content["together"] = measure_together(*first(2 * args.images), args.device, args.rounds)
    else:
        content["times"] = measure_times(*first(args.images), args.device, args.rounds)
    part = "memory" if args.memory else "together" if args.together else "times"
    content[part] |= _measure.of_a_row()
    print(f"wrote {_measure.write(args.name, content)}")


if __name__ == "__main__":
    main()

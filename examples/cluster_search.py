"""A search and a stacking on a Dask cluster that loses a worker: are the results the same as on one machine?

    python examples/cluster_search.py                                   # starts two worker processes here
    python examples/cluster_search.py --scheduler tcp://10.0.0.1:8786   # uses an existing cluster

Runs a grid search and a stacking on Fashion-MNIST in this process, and again on the cluster. There, one worker is
killed while it works, unless --scheduler names an existing cluster. Every score and every prediction must be the same.
A worker gets the data once, not with each task. Writes cluster.json to output/cluster. Needs
pip install 'fmnist_sk[dask]'.
"""
import argparse
import json
import logging
import os
import signal
import threading
import time

import joblib
import numpy as np
from _options import prepare
from _output import add_output
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from fmnist_sk import ConvNetClassifier, ResNetClassifier
from fmnist_sk.cluster import dask_backend

try:
    from distributed import Client, LocalCluster
except ImportError:
    raise SystemExit("This script needs Dask: pip install 'fmnist_sk[dask]'") from None


def lose_a_worker(client, lost):
    """Kill the process of a worker in the middle of its tasks, and note its address in `lost`."""
    processes = client.run(os.getpid)
    while not all(client.processing().get(address) for address in processes):
        time.sleep(0.05)
    time.sleep(1)
    address = next(address for address, tasks in client.processing().items() if tasks)
    os.kill(processes[address], signal.SIGKILL)
    lost.append(address)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheduler", help="address of a cluster (default: start one on this machine)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes to start (default: 2)")
    parser.add_argument("--images", type=int, default=4000, help="training images to use (default: 4,000)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each fit (default: 4)")
    parser.add_argument("--keep-workers", action="store_true", help="do not kill a worker")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--data-home", help="folder to search first for the Fashion-MNIST files")
    add_output(parser, "output/cluster")
    args = parser.parse_args()
    data, _ = prepare(parser, args, "output/cluster", ["cluster.json"], workers=2, images=100, epochs=1, seed=0)
    X, y = data.images[:args.images], data.target[:args.images]
    X_valid, y_valid = data.images[-2000:], data.target[-2000:]

    # With equal numbers of threads, here and there, results are bit-identical.
    common = {"max_epochs": args.epochs, "random_state": args.seed, "device": args.device, "n_threads": 1}
    net = ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", **common)
    folds = StratifiedKFold(3, shuffle=True, random_state=args.seed)
    search = GridSearchCV(net, {"lr": [5e-4, 2e-3, 8e-3], "dropout": [0.0, 0.3]}, cv=folds)
    stack = StackingClassifier([("conv", net), ("resnet", ResNetClassifier(**common))],
                               LogisticRegression(max_iter=500), cv=folds)

    def run():
        start = time.perf_counter()
        found = clone(search).fit(X, y)
        searched = time.perf_counter()
        stacked = clone(stack).fit(X, y)
        return found, stacked, {"search_seconds": searched - start, "stacking_seconds": time.perf_counter() - searched}

    print("on this machine, one fit at a time ...", flush=True)
    serial, serial_stack, serial_seconds = run()
    cluster = None if args.scheduler else LocalCluster(
        n_workers=args.workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL)
    lost = []
    with Client(args.scheduler or cluster) as client:
        n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        print(f"on {n_workers} worker{'s' * (n_workers > 1)} ...", flush=True)
        if cluster is not None and not args.keep_workers:
            threading.Thread(target=lose_a_worker, args=(client, lost), daemon=True).start()
        with joblib.parallel_config(dask_backend([X, y])):
            there, there_stack, seconds = run()
    if cluster is not None:
        cluster.close()
    columns = [name for name in serial.cv_results_ if name.startswith("split")]
    same = {
        "scores of every fold": all(np.array_equal(serial.cv_results_[name], there.cv_results_[name])
                                    for name in columns),
        "probabilities of the best": np.array_equal(serial.predict_proba(X_valid), there.predict_proba(X_valid)),
        "probabilities of the stacking": np.array_equal(serial_stack.predict_proba(X_valid),
                                                        there_stack.predict_proba(X_valid)),
    }
    content = {"images": args.images, "epochs": args.epochs, "device": args.device, "workers": n_workers,
               "workers_lost": len(lost), "serial": serial_seconds, "cluster": seconds, "same": same,
               "best": serial.best_params_, "search_accuracy": serial.score(X_valid, y_valid),
               "stacking_accuracy": serial_stack.score(X_valid, y_valid)}
    (args.output / "cluster.json").write_text(json.dumps(content, indent=1) + "\n")
    for name, where in (("here", serial_seconds), ("on the cluster", seconds)):
        print(f"{name:15s} search {where['search_seconds']:6.1f} s, stacking {where['stacking_seconds']:6.1f} s")
    print(f"workers lost: {len(lost)}; the same: " + ", ".join(f"{name} {value}" for name, value in same.items()))
    print(f"wrote {args.output / 'cluster.json'}")
    raise SystemExit(0 if all(same.values()) else 1)


if __name__ == "__main__":
    main()

"""Compare this revision with another one: an epoch of the networks of peers.py, and an import, in turn.

    git worktree add ../before REVISION
    python examples/benchmarks/revisions.py ../before

Each revision trains in a process of its own, which waits while the other one computes. Writes results/revisions.json.
Run nothing else meanwhile.
"""
import argparse
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import _measure
from _task import NETWORKS

HERE = Path(__file__).resolve().parents[2]
# What a process does: an epoch for every line it reads, whose seconds it prints.
WORKER = """
import sys
from _sides import this_package
from _task import Task
from fmnist_sk import load_fashion_mnist
import torch
train = load_fashion_mnist("train")
task = Task(sys.argv[1], train.images[:int(sys.argv[2])], train.target[:int(sys.argv[2])], torch.device("cpu"))
train_epochs, _ = this_package(task)
for line in sys.stdin:
    print(train_epochs(1), flush=True)
"""
IMPORT = """
import time
import joblib, numpy, pandas, skorch, sklearn, torch
start = time.perf_counter()
import fmnist_sk
print(time.perf_counter() - start)
"""


def environment_of(checkout):
    return {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'examples' / 'benchmarks'}",
            "PYTHONDONTWRITEBYTECODE": ""}


@contextlib.contextmanager
def worker(checkout, network, images):
    """A function that trains for an epoch in a process that has this checkout; returns seconds."""
    command = [sys.executable, "-W", "ignore", "-c", WORKER, network, str(images)]
    with subprocess.Popen(command, text=True, env=environment_of(checkout), cwd=checkout, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        def epoch():
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield epoch
        process.stdin.close()


def import_seconds(checkout):
    return float(subprocess.run([sys.executable, "-c", IMPORT], env=environment_of(checkout), cwd=checkout, check=True,
                                text=True, capture_output=True).stdout)


def revision(checkout):
    found = subprocess.run(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], check=True, text=True,
                           capture_output=True)
    return found.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the other revision")
    parser.add_argument("--rounds", type=_measure.count, default=15, help="rounds that count (default: 15)")
    parser.add_argument("--images", type=_measure.count, default=6400, help="training images (default: 6,400)")
    parser.add_argument("--name", type=_measure.file_name, default="revisions", help="name of the result file")
    args = parser.parse_args()
    before = args.before.resolve()
    if not (before / "fmnist_sk").is_dir():
        parser.error(f"before must be a checkout of this project, got {args.before}")
    found = {}
    for network in NETWORKS:
        with worker(HERE, network, args.images) as now, worker(before, network, args.images) as earlier:
            times = _measure.alternate({"now": now, "before": earlier}, args.rounds, verbose=False)
        found[f"an epoch of {network}"] = _measure.ratio(times["now"], times["before"])
    times = _measure.alternate({"now": lambda: import_seconds(HERE), "before": lambda: import_seconds(before)},
                               args.rounds, verbose=False)
    found["an import"] = _measure.ratio(times["now"], times["before"])
    for name, row in found.items():
        print(f"{name}: {row['median']:.3f} times as long [{row['low']:.3f}, {row['high']:.3f}]")
    path = _measure.write(args.name, {"before": revision(before), "rounds": args.rounds, "images": args.images,
                                      "times_as_long": found})
    print(f"results in {path}")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "the same command starts afresh")

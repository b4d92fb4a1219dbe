"""How hard is the package to break? Try generated inputs, inject faults, and count what is lost.

    python examples/benchmarks/reliability.py                       # all parts, for about an hour
    python examples/benchmarks/reliability.py --parts inputs --inputs 10000
    python examples/benchmarks/reliability.py --parts long          # memory, files and threads of one process

Parts, each in a process of its own:

- inputs: generated images, labels, weights, parameters and folders. Each must end with a valid result or with a
  meaningful error.
- models: files that are almost what `save` writes, with the same rule, within 2 seconds and 300 MiB.
- kills: ends fits, searches, saves and downloads with SIGKILL at random moments, and compares their results, once they
  are run again, with those of uninterrupted ones.
- damage: truncates files of every format, flips their bits, overwrites parts and swaps files.
- full disk: makes writing fail at a random size.
- long: 200 fits and 10,000 predictions.

Writes results/reliability.json after each part. Needs the extra ``test``, and Linux.
"""
import argparse
import collections
import gc
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import _measure
from hypothesis import HealthCheck, given, seed, settings

from fmnist_sk import ConvNetClassifier

os.environ.setdefault("FMNIST_SK_TEST_FOLDER", tempfile.mkdtemp())
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import _faults
import _kills
import fuzzing
from conftest import make_images
from kinds import KINDS

MODELS = "nearly saved models"
FITS, PREDICTIONS = 200, 10_000
ALLOWED = {"mib": 5.0, "files": 0, "threads": 0, "system_threads": 0}       # growth after the first fits


def inputs(args):
    return tried({name: kind for name, kind in KINDS.items() if name != MODELS}, args.inputs, args.seed)


def models(args):
    return tried({MODELS: KINDS[MODELS]}, args.models, args.seed)


def tried(kinds, n_cases, first):
    """Number of cases by outcome, and the text of those that failed."""
    counts, failures = collections.Counter(), []

    def run(name, strategy, try_case, n):
        @seed(first)
        @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def try_it(case):
            try:
                found = try_case(case)
                counts[f"{name}: {'refused' if fuzzing.is_refusal(found) else 'valid'}"] += 1
            except fuzzing.Failure as error:
                counts[f"{name}: failed"] += 1
                failures.append(f"{case}: {error}")

        try_it()

    for left, (name, kind) in zip(range(len(kinds), 0, -1), reversed(kinds.items()), strict=True):
        run(name, *kind, -(-(n_cases - counts.total()) // left))        # of folders there are fewer than of others
    return {"tried": counts.total(), "lost": len(failures), "counts": dict(counts), "failures": failures}


# ---------------------------------------------------------------------- a long run

def state(after):
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {**after, "mib": pages * resource.getpagesize() / 2**20, "files": len(list(Path("/proc/self/fd").iterdir())),
            "threads": threading.active_count(), "system_threads": len(list(Path("/proc/self/task").iterdir()))}


def long(args):
    X, y = make_images(n=300, size=28)
    net = ConvNetClassifier(architecture="16C3-MP2-32N", max_epochs=1, validation_fraction=0.1, augment="light",
                            random_state=0)
    found = []
    for n in range(FITS):
        net.fit(X, y)
        if (n + 1) % 10 == 0:
            found.append(state({"fits": n + 1, "predictions": 0}))
    for n in range(PREDICTIONS):
        net.predict_proba(X[:1 + n % 40])
        if (n + 1) % 500 == 0:
            found.append(state({"fits": FITS, "predictions": n + 1}))
    steady = found[1:]                  # the first ten fits fill caches
    growth = {name: steady[-1][name] - steady[0][name] for name in ALLOWED}
    return {"states": found, "growth": growth, "allowed": ALLOWED,
            "lost": sum(growth[name] > most for name, most in ALLOWED.items())}


PARTS = {"inputs": inputs, "models": models, "kills": _kills.kills, "damage": _faults.damage,
         "full disk": _faults.full_disk, "long": long}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run "
                        "(default: all)")
    parser.add_argument("--inputs", type=_measure.count, default=10_000, help="generated cases (default: 10000)")
    parser.add_argument("--models", type=_measure.count, default=20_000, help="generated files (default: 20000)")
    parser.add_argument("--faults", type=_measure.count, default=20, help="faults of each kind of kill and full disk "
                        "(default: 20)")
    parser.add_argument("--damages", type=_measure.count, default=600, help="damaged files of each format (default: "
                        "600)")
    parser.add_argument("--seed", type=_measure.seed, default=0, help="random seed (default: 0)")
    parser.add_argument("--name", type=_measure.file_name, default="reliability", help="name of the result file")
    args = parser.parse_args()
    content = _measure.read(args.name, ["parts"]).get("parts", {})
    for name in args.parts:
        start = time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:   # a heap of its own
            rows = pool.submit(PARTS[name], args).result()
        content[name] = {"seed": args.seed, "rows": rows, "seconds": time.perf_counter() - start,
                         **_measure.of_a_row()}
        _measure.write(args.name, {"parts": content})
        print(f"{name}: {json.dumps(content[name]['rows'])[:2000]}", flush=True)
    print(f"results in {_measure.RESULTS / args.name}.json")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "--parts runs the rest")

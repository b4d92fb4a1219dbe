"""This package compared with others that train networks, and with scikit-learn's own estimators.

    python examples/benchmarks/peers.py                        # all parts; --parts epochs fits for some of them

- epochs: an epoch of the same network in this package, hand-written loops, skorch, PyTorch Lightning and Keras on
  PyTorch (extra `peers`). Optimizer, batch size, precision and memory layout are the same on every side, except that
  skorch is also measured out of the box and Keras has its own layout. All run in one process, in turn, in a new order
  every round.
- fits: accuracy, time and memory of whole fits, also of scikit-learn's estimators, each in a process of its own. The
  test images are read once, after the fit. If trials with fewer images in the same process suggest that a fit of a
  scikit-learn estimator would take more than --minutes, it gets fewer images; its row says how many.
- inference: predict_proba compared with the network alone.
- scaling: time and memory of one epoch, from 1,000 images to 240,000.
- peak: the share of the processor's own speed at matrix products that training reaches.

Every row of a part is measured in a process of its own and written to results/peers.json as it comes; rows that are
there already are kept. Memory is read from Linux's /proc. Run nothing else meanwhile.
"""
import argparse
import contextlib
import json
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import NamedTuple

import _measure
from _fits import fit_rows, fits, scaling
from _speed import CLASSIFIERS, TRAINED, epochs, inference, peak
from _task import NETWORKS, installed

FEWEST = 120                # training images; scaling begins with a sixtieth of them


class Part(NamedTuple):
    rows: object                # of the options, the names of its rows
    measure: object             # of a name and the options, a row
    options: tuple              # what its figures depend on


PARTS = {
    "epochs": Part(lambda args: list(NETWORKS), epochs, ("device", "images", "rounds")),
    "fits": Part(fit_rows, fits, ("device", "images", "epochs")),
    "inference": Part(lambda args: installed(CLASSIFIERS), inference, ("device", "images", "rounds")),
    "scaling": Part(lambda args: [str(int((args.images or 60_000) * factor)) for factor in (1 / 60, 1 / 6, 1, 4)],
                    scaling, ("device", "images")),
    "peak": Part(lambda args: list(TRAINED), peak, ("device", "images", "rounds")),
}


def n_images(text):
    """How many training images, out of a command line."""
    number = _measure.count(text)
    if not FEWEST <= number <= 60_000:
        raise argparse.ArgumentTypeError(f"must be from {FEWEST} to 60000, got {text}")
    return number


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS),
                        help="parts to measure (default: all)")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="measure these rows of the parts (again)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--rounds", type=_measure.count, default=11, help="timed rounds (default: 11)")
    parser.add_argument("--images", type=n_images, help="images (default: 6,400 for epochs and peak, 10,000 for "
                        "inference, 60,000 for fits and scaling, which has up to four times as many)")
    parser.add_argument("--epochs", type=_measure.count, default=3, help="epochs of the networks' fits (default: 3)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0, 1, 2],
                        help="seeds of the networks' fits (default: 0 1 2); scikit-learn's estimators get the first")
    parser.add_argument("--minutes", type=_measure.minutes, default=20, help="limit for a fit of a scikit-learn "
                        "estimator (default: 20)")
    parser.add_argument("--afresh", action="store_true", help="measure all rows of the parts again")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: peers, or "
                        "peers_cuda)")
    parser.add_argument("--row", nargs=2, metavar=("PART", "ROW"), help=argparse.SUPPRESS)      # what a process does
    return parser


def where():
    """What a row depends on besides its part's settings: rows may be of several runs."""
    return _measure.of_a_row() | {name: version(name) for name in ("lightning", "keras") if find_spec(name)}


def in_a_process(part, row):
    """The row as another process measures it, whose last line is JSON; its other lines are shown. None if it fails."""
    command = [sys.executable, __file__, *sys.argv[1:], "--row", part, row]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("{"):
                result = json.loads(line)
            else:
                print(line, end="", flush=True)
    return result if process.returncode == 0 else None


def main():
    parser = options()
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("peers", args.device)
    if args.row:
        part, row = args.row
        print(json.dumps(PARTS[part].measure(row, args)))
        return

    path, results = _measure.RESULTS / f"{args.name}.json", _measure.read(args.name, PARTS)
    every = {part: PARTS[part].rows(args) for part in args.parts}
    if unknown := set(args.only or ()) - {row for rows in every.values() for row in rows}:
        names = ", ".join(repr(row) for rows in every.values() for row in rows)
        parser.error(f"--only must name some of {names}; got {', '.join(unknown)}")
    failed = []
    for part in args.parts:
        settings = {name: getattr(args, name) for name in PARTS[part].options}
        if args.afresh:
            results.pop(part, None)
        if part in results and results[part]["settings"] != settings:
            parser.error(f"{path.name} has {part} with {results[part]['settings']}, not {settings}: choose --afresh or "
                         "another --name")
        rows = results.setdefault(part, {"settings": settings, "rows": {}})["rows"]
        for row in every[part]:
            if row not in args.only if args.only else row in rows:
                continue
            print(f"{part}, {row} ...", flush=True)
            begin = time.perf_counter()
            measured = in_a_process(part, row)
            print(f"{part}, {row}: {'failed' if measured is None else 'done'} in {time.perf_counter() - begin:.0f} s",
                  flush=True)
            if measured is None:
                failed.append(f"{part}, {row}")
                continue
            rows[row] = {**measured, **where()}
            _measure.write(args.name, results)
    print(f"results in {path}")
    if failed:
        sys.exit(f"without {'; '.join(failed)}, which failed")


if __name__ == "__main__":
    if "--row" in sys.argv:
        with contextlib.suppress(KeyboardInterrupt):        # the process that waits for this one says so
            main()
    else:
        _measure.end_on_ctrl_c(main, "the same command, without --afresh, continues")

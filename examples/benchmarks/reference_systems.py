"""Train every system of the five reports as its report did, and with our recipe for the same architecture.

    python examples/benchmarks/reference_systems.py                              # all rows, for many hours on a CPU
    python examples/benchmarks/reference_systems.py --resume                     # continue after an interruption
    python examples/benchmarks/reference_systems.py --only "report 1" cnn_2 --settings reported
    python examples/benchmarks/reference_systems.py --only cnn_4 --settings other    # what was tried without a figure
    python examples/benchmarks/reference_systems.py --jobs 2                     # two fits at once: less time in all
    python examples/benchmarks/reference_systems.py --device cuda --jobs 4
    python examples/benchmarks/reference_systems.py --picture examples/pictures/report_3.png     # trains nothing

Reported settings hold out the report's share of the training images, end with the best epoch on these (report 4's with
the last epoch), and then read the test images once. Our recipe and report 3's final network train on all 60,000
training images to their last epoch, and then read the test images once. Report 1's table of architecture, loss and
augmentation is the sweep ``--only "report 1"``.

By default seed 0 is trained. Report 1's settings of cnn_1, which may stay at chance, are trained with seeds 0 to 2.
Rows whose run in the file is within 0.3 points of their report are also trained with seed 1.

On a CPU a fit may take two hours on all cores (--minutes). Of several fits at once, each has its share of the cores and
that many times longer. A fit that would take too long, judged by its first epoch, is trained for as many epochs as
there is time for, with its schedule compressed into them, and its row says so; with more time, --resume runs it again.

Writes results/reference_systems.json after each fit, with every row, also those that were not run; the state of a fit
is kept after each epoch. Several calls at once may train different rows or seeds. A figure stays until its fit has been
repeated for at least as many epochs. Figures of other settings than today's `reference_system` are removed.
All devices share the file, because accuracies are compared here, not times: on a GPU --resume trains what a CPU had no
time for.
"""
import argparse
import contextlib
import math
import os
import shutil
import statistics
from pathlib import Path

import _measure
import torch
from _reference_rows import (
    classifier_of,
    kind_of,
    name_of,
    names_of,
    of_one_class,
    seeds_of,
    settings_of,
    stands,
    status,
    table,
    work,
)
from joblib import Parallel, delayed
from skorch.callbacks import Callback

from fmnist_sk import load_fashion_mnist
from fmnist_sk.callbacks import format_seconds

MINUTES = 120               # of a fit on all cores of a CPU
FOLDER = Path("output")     # of unfinished fits


class Progress(Callback):
    """Prints a line after each epoch of one of several fits."""

    def __init__(self, name):
        self.name = name

    def on_epoch_end(self, net, **kwargs):
        last, left = net.history[-1], net.max_epochs - len(net.history)
        print(f"{self.name}: epoch {last['epoch']} of {net.max_epochs}, training loss {last['train_loss']:.4f}, "
              f"{format_seconds(left * statistics.median(net.history[:, 'dur']))} remaining\n", end="", flush=True)


class Limit(Callback):
    """Ends a fit after its first epoch if all epochs would take too long, and writes down how many would not.

    KeyboardInterrupt is how callbacks of skorch end a fit.
    """

    def __init__(self, minutes, note):
        self.minutes, self.note = minutes, note

    def on_epoch_end(self, net, **kwargs):
        n_epochs = max(1, int(60 * self.minutes / net.history[0, "dur"]))
        if n_epochs < net.max_epochs:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(str(n_epochs))
            raise KeyboardInterrupt


def run(row, seed, train, test, args, minutes, folder):
    """One fit of a row, which resumes if it was interrupted; the reason, as text, if it cannot be trained."""
    if args.device == "cpu" and args.jobs > 1:
        torch.set_num_threads(max(1, os.cpu_count() // args.jobs))      # of this thread's operations
    callbacks = [("progress", Progress(name_of((row["system"], row["setting"]), seed)))] if args.jobs > 1 else []
    limits, n_epochs = [], folder / f"epochs of {minutes} minutes, {args.jobs} on {args.device}"       # if not all
    if minutes is not None and not n_epochs.exists():
        limits = [("limit", Limit(minutes * (args.jobs if args.device == "cpu" else 1), n_epochs))]
    where = _measure.of_a_row()

    def fit(callbacks, **params):
        classifier = classifier_of(row, random_state=seed, verbose=int(args.jobs == 1), callbacks=callbacks, **params)
        return _measure.fitted(classifier, train.images, train.target, args.device, folder)

    with torch.cuda.stream(torch.cuda.Stream()) if args.device != "cpu" else contextlib.nullcontext():
        try:                # in a stream of its own, beside which those of other fits run
            if not n_epochs.exists():
                classifier = fit(callbacks + limits)
            if n_epochs.exists():
                classifier = fit(callbacks, max_epochs=int(n_epochs.read_text()))
        except (FileNotFoundError, ValueError) as error:                # no weights; a loss that became infinite
            print(error, flush=True)
            return "not run without weights" if isinstance(error, FileNotFoundError) else \
                f"not run: {str(error).partition(':')[0]}"
        predicted = classifier.predict(test.images)
    right = predicted == test.target
    history = classifier.history_
    found = {"seed": seed, "epochs": len(history), "test_accuracy": float(right.mean()),
             "test_accuracy_of_each_class": [float(right[test.target == label].mean()) for label in range(10)],
             "seconds_per_epoch": statistics.median(history[:, "dur"]), "fit_seconds": sum(history[:, "dur"]),
             "train_loss_of_epochs": history[:, "train_loss"], "train_acc_of_epochs": history[:, "train_acc"],
             "test_precision_of_each_class": [float(right[predicted == label].mean()) if (predicted == label).any()
                                              else 0.0 for label in range(10)],
             "lr_of_epochs": history[:, "lr"]}
    if "valid_acc" in history[0]:
        found |= {"best_epoch": classifier.best_epoch_} if classifier.keep_best else {}
        kept = history[found.get("best_epoch", len(history)) - 1]
        found |= {"valid_accuracy": kept["valid_acc"],
                  "valid_accuracy_of_each_class": [kept[f"valid_class_acc_{code}"]
                                                   for code in range(len(classifier.classes_))],
                  "valid_acc_of_epochs": history[:, "valid_acc"]}
    return {**found, **where, "arithmetic": _measure.arithmetic(classifier),
            "device": args.device, "fits_at_once": args.jobs, "minutes": minutes, "settings": settings_of(row)}


def draw(rows, path):
    """Validation accuracy of report 3's five networks during their training; the rows are those that were run."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import PercentFormatter

    plt.switch_backend("agg")
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row in rows:
        accuracy = max((run["valid_acc_of_epochs"] for run in row["runs"]), key=len)
        axes.plot([(i + 1) / len(accuracy) for i in range(len(accuracy))], accuracy,
                  label=f"{row['system']}, {len(accuracy)} epochs: best {max(accuracy):.2%}")
    axes.set(xlabel="progress of training", ylabel="accuracy on 4,000 validation images", ylim=(0.85, 0.96))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid(alpha=0.3)
    axes.legend(title="network of report 3", loc="lower right")
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help='only these systems or reports, such as cnn_2 '
                        '"report 1"')
    parser.add_argument("--settings", nargs="+", metavar="NAME", default=["reported", "ours"],
                        help="settings to train: those with a figure in the report (reported), our recipe (ours), "
                        "those that a report tried without a figure (other), or single ones by name (default: reported "
                        "ours)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", help="random seeds (default: as above)")
    parser.add_argument("--resume", action="store_true", help="keep the fits that are complete, and continue those "
                        "that were interrupted; without it the chosen rows start afresh")
    parser.add_argument("--minutes", type=_measure.minutes, help=f"time limit for a fit (default: {MINUTES} on a CPU, "
                        "else none)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--jobs", type=_measure.count, default=1, help="fits at once, each with its share of the cores "
                        "(default: 1)")
    parser.add_argument("--name", type=_measure.file_name, default="reference_systems", help="name of the result file")
    parser.add_argument("--picture", type=Path, metavar="PATH.png", help="train nothing, but draw the curves of "
                        "report 3's five networks, if they have been trained")
    args = parser.parse_args()
    rows = table()
    if args.picture is not None:
        if args.picture.suffix != ".png" or not args.picture.parent.is_dir():
            parser.error(f"--picture must name a .png in a folder that is there, got {args.picture}")
        curves = [row for row in _measure.read(args.name, ["rows"]).get("rows", ())
                  if row["report"] == "report 3" and row["setting"] == "validation" and row["runs"]]
        if not curves:
            parser.error(f"{args.name}.json has no row of report 3 to draw")
        return draw(curves, args.picture)
    for option, names, known in (
            ("--only", args.only or (), {row[part] for row in rows.values() for part in ("system", "report")}),
            ("--settings", args.settings, {"reported", "ours", "other"}.union(*map(names_of, rows.values())))):
        if unknown := set(names) - known:
            listed = sorted(repr(name) for name in known if of_one_class(name) is None)
            parser.error(f"{option} must be among {', '.join(listed)}; got "
                         f"{', '.join(sorted(map(repr, unknown)))}")
    minutes = args.minutes or (MINUTES if args.device == "cpu" else None)
    chosen = [key for key, row in rows.items()
              if (not args.only or {row["system"], row["report"]} & set(args.only))
              and {kind_of(row), *names_of(row)} & set(args.settings)]
    if not chosen:
        parser.error(f"{', '.join(args.only)} has none of the settings {', '.join(args.settings)}")
    folders = {key: FOLDER / args.name / f"{key[0]}, {key[1]}" for key in chosen}
    made = {}               # (system, setting) -> seed -> what this call has to say of it: its run

    def read():
        """Take what the file has, which other calls may have added to."""
        for old in _measure.read(args.name, ["rows"]).get("rows", ()):
            if (key := (old["system"], old["setting"])) in rows:
                rows[key]["status"] = old["status"]
                rows[key]["runs"] = [run for run in old["runs"] if run["settings"] == settings_of(rows[key])]

    def write():
        read()
        for key, row in rows.items():
            runs = {run["seed"]: run for run in row["runs"]} | made.get(key, {})
            row["runs"] = [runs[seed] for seed in sorted(runs)]
            row["status"] = status(row)
        for key, reason in reasons.items():
            rows[key]["status"] = reason
        return _measure.write(args.name, {"rows": list(rows.values())})

    read()
    reasons = {}            # of rows that cannot be trained
    seeds = {key: list(dict.fromkeys(args.seeds or seeds_of(rows[key]))) for key in chosen}
    for key in chosen if not args.resume else ():
        shutil.rmtree(folders[key], ignore_errors=True)
        made[key] = {run_["seed"]: {**run_, "begun_anew": True} for run_ in rows[key]["runs"]
                     if run_["seed"] in seeds[key]}
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    write()             # before hours of work
    todo = [(key, seed) for key in chosen for seed in seeds[key]
            if not any(run_["seed"] == seed and stands(run_, rows[key], minutes) for run_ in rows[key]["runs"])]
    todo.sort(key=lambda one: one[1])       # the first seed of all rows before the second of any
    amounts = {key: work(rows[key], len(train.images)) for key in dict.fromkeys(key for key, _ in todo)}
    if args.jobs > 1:       # the longest first, so that none is left alone at the end
        todo.sort(key=lambda one: -amounts[one[0]])

    def expected(key):
        """Seconds of a fit, from those of the others."""
        seconds = amounts[key] * done_seconds / done_work
        most = 60 * (minutes or math.inf) * (args.jobs if args.device == "cpu" else 1)
        return min(seconds, most)

    def fit(key, seed):
        print(f"{name_of(key, seed)} ...\n", end="", flush=True)        # at once, also beside other threads
        return key, seed, run(rows[key], seed, train, test, args, minutes, folders[key])

    done_seconds = done_work = 0.0
    left = list(todo)
    fits = Parallel(args.jobs, backend="threading", return_as="generator_unordered", pre_dispatch=args.jobs)
    for key, seed, found in fits(delayed(fit)(*one) for one in todo):
        row = rows[key]
        left.remove((key, seed))
        if isinstance(found, str):
            reasons[key] = found
            write()
            continue
        kept, earlier = found, {run_["seed"]: run_ for run_ in row["runs"]}.get(seed)
        if earlier and earlier["epochs"] > found["epochs"]:
            print(f"{name_of(key, seed)}: the earlier fit had more epochs and is kept", flush=True)
            kept = {name: value for name, value in earlier.items() if name != "begun_anew"}
        made.setdefault(key, {})[seed] = kept
        done_seconds += found["fit_seconds"]
        done_work += amounts[key] * found["epochs"] / row["epochs_planned"]
        write()
        print(f"{name_of(key, seed)}: test accuracy {found['test_accuracy']:.4f}, {row['status']}"
              + "".join(f", {name}: reported {value}" for name, value in row["reported"].items())
              + f"; {len(todo) - len(left)} of {len(todo)} done, "
              f"{format_seconds(sum(map(expected, (key for key, _ in left))) / args.jobs)} remaining", flush=True)
    print(f"wrote {write()}: {sum(row['status'] == 'complete' for row in rows.values())} rows complete")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "--resume continues")

"""Every system of the five reports, as it was trained there and with our recipe for the same architecture.

    python examples/benchmarks/reference_systems.py                              # all rows, for many hours on a CPU
    python examples/benchmarks/reference_systems.py --resume                     # go on after an interruption
    python examples/benchmarks/reference_systems.py --only "report 1" cnn_2 --settings reported
    python examples/benchmarks/reference_systems.py --only cnn_4 --settings other    # what was tried without a figure
    python examples/benchmarks/reference_systems.py --jobs 2                     # that many fits at once: less in all
    python examples/benchmarks/reference_systems.py --device cuda --jobs 4
    python examples/benchmarks/reference_systems.py --picture examples/pictures/report_3.png     # of what is there

Reported settings hold out the report's share of the training images, end with the best epoch on them (report 4's with
the last), and then read the test images once. Our recipe trains on all 60,000 training images to its last epoch, and
reads the test images once.
Report 1's table of architecture, loss and augmentation is the sweep ``--only "report 1"``.

On a CPU a fit may take two hours of all cores (--minutes); of several fits at once each has its share of the cores, and
that many times longer. One that would take longer, by its first epoch, is trained for as many epochs as there is time
for, with its schedule compressed into them, and its row says so; with more time, --resume runs it again. Writes
results/reference_systems.json with every row, also those that were not run, anew after each fit; fits themselves are
kept after each epoch. A figure stays until its fit was repeated, for as many epochs at least; those of other settings
than today's `reference_system` are left out.
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
from joblib import Parallel, delayed
from skorch.callbacks import Callback

from fmnist_sk import AugmentedCopies, load_fashion_mnist, reference_system, reference_systems, summary
from fmnist_sk.callbacks import format_seconds
from fmnist_sk.reference import OUR_RECIPE

MINUTES = 120               # of a fit on all cores of a CPU
FOLDER = Path("output")     # of unfinished fits


class Progress(Callback):
    """Says after each epoch how far a fit is, beside others."""

    def __init__(self, name):
        self.name = name

    def on_epoch_end(self, net, **kwargs):
        last, left = net.history[-1], net.max_epochs - len(net.history)
        print(f"{self.name}: epoch {last['epoch']} of {net.max_epochs}, training loss {last['train_loss']:.4f}, "
              f"{format_seconds(left * statistics.median(net.history[:, 'dur']))} remaining\n", end="", flush=True)


class Limit(Callback):
    """Ends a fit, in skorch's way, after its first epoch if all would take longer, and notes how many would not."""

    def __init__(self, minutes, note):
        self.minutes, self.note = minutes, note

    def on_epoch_end(self, net, **kwargs):
        n_epochs = max(1, int(60 * self.minutes / net.history[0, "dur"]))
        if n_epochs < net.max_epochs:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(str(n_epochs))
            raise KeyboardInterrupt


def table():
    """(system, setting) -> what its row says whether it was run or not, in the order of the reports.

    Figures of one fit, such as its accuracies on several classes, are one row.
    """
    rows = {}
    for name, system in reference_systems().items():
        fits = {}
        for setting, changes in system.settings.items():
            fits.setdefault(repr(changes), []).append(setting)
        for settings in fits.values() or [[None]]:                      # one was planned, but never run
            rows[name, settings[0]] = {
                "system": name, "setting": settings[0], "report": system.source,
                "reported": {other: system.reported[other] for other in settings if other in system.reported},
                "epochs_planned": reference_system(name, settings[0]).max_epochs, "status": "not run", "runs": []}
    return rows


def kind_of(row):
    """"ours", "reported", or "other": what a report tried, but has no figure of."""
    return "ours" if row["setting"] == OUR_RECIPE else "reported" if row["reported"] or not row["setting"] else "other"


def classifier_of(row, **params):
    return reference_system(row["system"], row["setting"], **params)


def settings_of(row):
    classifier = classifier_of(row)
    others = {name: value for name, value in reference_systems()[row["system"]].settings.get(row["setting"], {}).items()
              if "__" in name}                  # of parts, such as criterion__over_classes
    return " ".join([*classifier.__repr__(N_CHAR_MAX=10**6).split(), *(f"{name}={others[name]}" for name in others)])


def work(row, n_images):
    """Multiply-adds of a fit, for the remaining time: three passes forward for a step."""
    classifier = classifier_of(row)
    if isinstance(classifier.augment, AugmentedCopies):
        n_images *= 1 + classifier.augment.fraction
    return 3 * int(summary(classifier).loc["total", "multiply_adds"]) * n_images * row["epochs_planned"]


def run(row, seed, train, test, args, minutes, folder):
    """One fit of a row, gone on with if an earlier call was interrupted in it; None for want of pretrained weights."""
    if args.device == "cpu" and args.jobs > 1:
        torch.set_num_threads(max(1, os.cpu_count() // args.jobs))      # of this thread's operations
    callbacks = [("progress", Progress(name_of((row["system"], row["setting"]), seed)))] if args.jobs > 1 else []
    limits, n_epochs = [], folder / f"epochs of {minutes} minutes"          # if not all
    if minutes is not None and not n_epochs.exists():
        limits = [("limit", Limit(minutes * (args.jobs if args.device == "cpu" else 1), n_epochs))]
    where = _measure.of_a_row()

    def fit(callbacks, **params):
        classifier = classifier_of(row, random_state=seed, device=args.device, verbose=int(args.jobs == 1),
                                   checkpoint=folder, callbacks=callbacks, **params)
        return classifier.fit(train.images, train.target)

    with torch.cuda.stream(torch.cuda.Stream()) if args.device != "cpu" else contextlib.nullcontext():
        try:                # in a stream of its own, beside which those of other fits run
            if not n_epochs.exists():
                classifier = fit(callbacks + limits)
            if n_epochs.exists():
                classifier = fit(callbacks, max_epochs=int(n_epochs.read_text()))
        except FileNotFoundError as error:
            print(error, flush=True)
            return None
        predicted = classifier.predict(test.images)
    right = predicted == test.target
    history = classifier.history_
    found = {"seed": seed, "epochs": len(history), "test_accuracy": float(right.mean()),
             "test_accuracy_of_each_class": [float(right[test.target == label].mean()) for label in range(10)],
             "seconds_per_epoch": statistics.median(history[:, "dur"]), "fit_seconds": sum(history[:, "dur"]),
             "train_loss_of_epochs": history[:, "train_loss"], "lr_of_epochs": history[:, "lr"]}
    if "valid_acc" in history[0]:
        best = classifier.best_epoch_ if classifier.keep_best else len(history)
        found |= {"valid_accuracy": history[best - 1, "valid_acc"], "best_epoch": best,
                  "valid_accuracy_of_each_class": [history[best - 1, f"valid_class_acc_{code}"]
                                                   for code in range(len(classifier.classes_))],
                  "valid_acc_of_epochs": history[:, "valid_acc"]}
    return {**found, **where, "arithmetic": _measure.arithmetic(classifier),
            "device": args.device, "fits_at_once": args.jobs, "minutes": minutes, "settings": settings_of(row)}


def draw(rows, path):
    """Validation accuracy of report 3's five networks during their training."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import PercentFormatter

    plt.switch_backend("agg")
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row in rows:
        if row["report"] == "report 3" and row["setting"] == "validation" and row["runs"]:
            accuracy = row["runs"][0]["valid_acc_of_epochs"]
            axes.plot([(i + 1) / len(accuracy) for i in range(len(accuracy))], accuracy,
                      label=f"{row['system']}, {len(accuracy)} epochs: best {max(accuracy):.2%}")
    axes.set(xlabel="share of the training", ylabel="accuracy on 4,000 validation images", ylim=(0.85, 0.96))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid(alpha=0.3)
    axes.legend(title="network of report 3", loc="lower right")
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def stands(run, row, minutes):
    """Whether a run need not be repeated: it is whole, or had as much time as it would have now.

    So not if a call without --resume was to repeat it and was interrupted.
    """
    had_time = run["epochs"] == row["epochs_planned"] or (minutes or math.inf) <= (run["minutes"] or math.inf)
    return had_time and "begun_anew" not in run


def status(row):
    """What may be said of a row: complete, how far it came, or why it was not run."""
    if not row["runs"]:
        return row["status"] if row["status"].startswith("not run") else "not run"
    done, planned = min(run["epochs"] for run in row["runs"]), row["epochs_planned"]
    return "complete" if done == planned else f"schedule compressed from {planned} into {done} epochs"


def name_of(key, seed):
    return f"{key[0]}, {key[1] or 'as planned'}, seed {seed}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help='these systems or reports, such as cnn_2 "report 1"')
    parser.add_argument("--settings", nargs="+", metavar="NAME", default=["reported", "ours"],
                        help="only those with a figure in the report (reported), our recipe (ours), those that it "
                        "tried without a figure (other), or single ones by name (default: reported ours)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0], help="random seeds (default: 0)")
    parser.add_argument("--resume", action="store_true", help="keep the fits that are done, and go on with those that "
                        "were interrupted; without it the chosen rows begin anew")
    parser.add_argument("--minutes", type=_measure.minutes, help=f"of a fit at most (default: {MINUTES} on a CPU, "
                        "else no limit)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--jobs", type=_measure.count, default=1, help="fits at once, each with its share of the cores "
                        "(default: 1)")
    parser.add_argument("--name", type=_measure.file_name, default="reference_systems", help="name of the result file")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="train nothing, but draw report 3's five curves")
    args = parser.parse_args()
    rows = table()
    if args.picture:
        return draw(_measure.read(args.name, ["rows"]).get("rows", ()), args.picture)
    for option, names, known in (
            ("--only", args.only or (), {row[part] for row in rows.values() for part in ("system", "report")}),
            ("--settings", args.settings, {"reported", "ours", "other"} | {name for _, name in rows if name})):
        if unknown := set(names) - known:
            parser.error(f"{option} takes names out of {', '.join(sorted(map(repr, known)))}; got "
                         f"{', '.join(sorted(map(repr, unknown)))}")
    minutes = args.minutes or (MINUTES if args.device == "cpu" else None)
    chosen = [key for key, row in rows.items()
              if (not args.only or {row["system"], row["report"]} & set(args.only))
              and {kind_of(row), row["setting"]} & set(args.settings)]
    if not chosen:
        parser.error(f"{', '.join(args.only)} has none of the settings {', '.join(args.settings)}")
    seeds = list(dict.fromkeys(args.seeds))
    folders = {key: FOLDER / args.name / f"{key[0]}, {key[1]}" for key in chosen}

    def read(keys):
        """Take what the file has of these rows."""
        for old in _measure.read(args.name, ["rows"]).get("rows", ()):
            if (key := (old["system"], old["setting"])) in keys:
                rows[key]["status"] = old["status"]
                rows[key]["runs"] = [run for run in old["runs"] if run["settings"] == settings_of(rows[key])]

    def write():
        read(rows.keys() - set(chosen))     # which another call may have run meanwhile
        for row in rows.values():
            row["status"] = status(row)
        return _measure.write(args.name, {"rows": list(rows.values())})

    read(rows.keys())
    for key in chosen if not args.resume else ():
        shutil.rmtree(folders[key], ignore_errors=True)
        for run_ in rows[key]["runs"]:
            if run_["seed"] in seeds:
                run_["begun_anew"] = True
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    todo = [(key, seed) for seed in seeds for key in chosen
            if not any(run_["seed"] == seed and stands(run_, rows[key], minutes) for run_ in rows[key]["runs"])]
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

    write()             # before hours of work
    done_seconds = done_work = 0.0
    left = list(todo)
    fits = Parallel(args.jobs, backend="threading", return_as="generator_unordered", pre_dispatch=args.jobs)
    for key, seed, found in fits(delayed(fit)(*one) for one in todo):
        row = rows[key]
        left.remove((key, seed))
        if found is None:
            row["status"] = "not run without weights"
            continue
        of_seed = [run_ for run_ in row["runs"] if run_["seed"] == seed]
        if of_seed and of_seed[0]["epochs"] > found["epochs"]:
            print(f"{name_of(key, seed)}: the earlier fit came farther, and stays", flush=True)
            of_seed[0].pop("begun_anew", None)
        else:
            row["runs"] = sorted([run_ for run_ in row["runs"] if run_ not in of_seed] + [found],
                                 key=lambda run_: run_["seed"])
        done_seconds += found["fit_seconds"]
        done_work += amounts[key] * found["epochs"] / row["epochs_planned"]
        write()
        print(f"{name_of(key, seed)}: test accuracy {found['test_accuracy']:.4f}, {row['status']}"
              + "".join(f", {name}: reported {value}" for name, value in row["reported"].items())
              + f"; {len(todo) - len(left)} of {len(todo)} done, "
              f"{format_seconds(sum(map(expected, (key for key, _ in left))) / args.jobs)} remaining", flush=True)
    print(f"wrote {write()}: {sum(row['status'] == 'complete' for row in rows.values())} rows complete")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "--resume goes on")

"""Which recipe suits each of the reports' architectures: candidates compared on held-out training images.

    python examples/benchmarks/choose_reference_recipes.py                  # all, for hours; resumes where it stopped
    python examples/benchmarks/choose_reference_recipes.py --only simple_model_2 --images 54000 --epochs 120

Each architecture is trained with each candidate on the first 20,000 training images (--images) for 9 epochs (--epochs).
Its accuracy is that on the last 6,000 training images after the last epoch, with predictions averaged over ten views.
Candidates that are the same for an architecture are trained once. "Taught" networks learn from a teacher, a residual
network of the recipe "accurate" that is trained on the same images. The test images are never read.

Writes results/choose_reference_recipes.json after every run. Runs that are in it are not repeated, and an interrupted
one resumes. For the systems in the file, "our recipe" in `fmnist_sk.reference` is the best candidate of the longest
comparison.
"""
import argparse
from pathlib import Path
from statistics import mean

import _measure
from sklearn.base import clone

from fmnist_sk import (
    ConvNetClassifier,
    CutMix,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    ResNetClassifier,
    load_fashion_mnist,
    recipe,
    reference_system,
    reference_systems,
)
from fmnist_sk.reference import COMMON_RECIPE, OUR_RECIPE

HELD_OUT = _measure.HELD_OUT
FOLDER = Path("output")     # of unfinished fits
SHIFTED = RandomCrop(padding=1), RandomHorizontalFlip()
ADAMW = {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05}
TEACHER = ResNetClassifier(**recipe("accurate", label_smoothing=0.0, max_epochs=16), random_state=0)
TAUGHT = {"label_smoothing": 0.0, "teacher": TEACHER, "teacher_weight": 0.9}
CANDIDATES = {              # changes of COMMON_RECIPE
    "SGD": {},
    "SGD, lr 0.04": {"lr": 0.04},
    "SGD, erasing": {"augment": [*SHIFTED, RandomErasing()]},
    "SGD, CutMix": {"augment": [*SHIFTED, CutMix(p=0.5)]},
    "SGD, lr 0.04, CutMix": {"lr": 0.04, "augment": [*SHIFTED, CutMix(p=0.5)]},
    "SGD, lr 0.04, CutMix, EMA": {"lr": 0.04, "augment": [*SHIFTED, CutMix(p=0.5)], "ema": 0.999},
    "SGD, lr 0.04, CutMix, taught": {"lr": 0.04, "augment": [*SHIFTED, CutMix(p=0.5)], **TAUGHT},
    "SGD, lr 0.04, taught": {"lr": 0.04, **TAUGHT},
    "SGD, taught": TAUGHT,
    "SGD, lr 0.04, larger shifts": {"lr": 0.04, "augment": [RandomCrop(padding=3), RandomHorizontalFlip()]},
    "SGD, lr 0.04, report 3's augmentation": {"lr": 0.04, "augment": "report_3"},
    "SGD, sharpness-aware": {"sam_rho": 0.1},
    "SGD, CutMix, sharpness-aware": {"augment": [*SHIFTED, CutMix(p=0.5)], "sam_rho": 0.1},
    "AdamW": ADAMW,
    "AdamW, erasing": {**ADAMW, "augment": [*SHIFTED, RandomErasing()]},
}
OF_PLAIN = {                # of ConvNetClassifier
    "SGD, batch norm": {"batch_norm": True},
    "SGD, batch norm everywhere": {"batch_norm": "all"},
    "SGD, batch norm, dropout": {"batch_norm": True, "dropout": 0.2},
    "SGD, lr 0.04, dropout, erasing": {"lr": 0.04, "batch_norm": "all", "dropout": 0.2,
                                       "augment": [*SHIFTED, RandomErasing()]},
    "SGD, lr 0.04, dropout, erasing, CutMix": {"lr": 0.04, "batch_norm": "all", "dropout": 0.2,
                                               "augment": [*SHIFTED, RandomErasing(), CutMix(p=0.5)]},
    "SGD, batch norm everywhere, dropout, erasing": {"batch_norm": "all", "dropout": 0.2,
                                                     "augment": [*SHIFTED, RandomErasing()]},
}
EVERY = {**CANDIDATES, **OF_PLAIN}


def longest(runs):
    """system -> the runs of its longest comparison: of several candidates, with the most images times epochs."""
    found = {}
    for run in runs:
        found.setdefault((run["system"], run["images"] * run["epochs"]), []).append(run)
    found = {key: own for key, own in sorted(found.items(), key=lambda item: item[0][1]) if len(accuracies(own)) > 1}
    return {system: found[system, n] for system, n in found}        # the last of each system, which is the longest


def accuracies(runs):
    """candidate -> its mean accuracy over the seeds, the best first."""
    found = {}
    for run in runs:
        found.setdefault(run["candidate"], []).append(run["accuracy"])
    return dict(sorted(((candidate, mean(each)) for candidate, each in found.items()), key=lambda pair: -pair[1]))


def candidates_of(system, names):
    """Classifiers of the candidates that differ for a system, by name.

    A network without dense layers has no dropout, and batch normalisation may be its own already. Networks of report 1
    keep theirs, in which some of them differ from each other alone.
    """
    found, seen = {}, []
    for name in names:
        own = reference_systems()[system]
        if name in OF_PLAIN and (own.classifier is not ConvNetClassifier or own.source == "report 1"):
            continue
        classifier = reference_system(system, **{**COMMON_RECIPE, **EVERY[name]})
        params = {key: value for key, value in classifier.get_params(deep=False).items()
                  if key not in ("batch_norm", "dropout")}
        network = repr(clone(classifier).initialize().module_), repr(params)
        if network not in seen:
            seen.append(network)
            found[name] = classifier
    return found


def main():
    systems = [name for name, system in reference_systems().items() if OUR_RECIPE in system.settings]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=systems, default=systems, metavar="NAME",
                        help="these systems (default: all)")
    parser.add_argument("--candidates", nargs="+", choices=EVERY, default=list(EVERY), metavar="NAME",
                        help=f"some of {', '.join(map(repr, EVERY))} (default: all)")
    parser.add_argument("--images", type=_measure.count, default=20_000, help="images to train on (default: 20000)")
    parser.add_argument("--epochs", type=_measure.count, default=9, help="epochs of each fit (default: 9)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0], help="random seeds (default: 0)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, default="choose_reference_recipes",
                        help="name of the result file")
    args = parser.parse_args()
    X, y = load_fashion_mnist(return_X_y=True)
    if not 128 <= args.images <= len(X) - HELD_OUT:
        parser.error(f"--images must be from 128 to {len(X) - HELD_OUT}, got {args.images}")
    of_each = {system: candidates_of(system, args.candidates) for system in args.only}
    for system, candidates in of_each.items():
        if not candidates:
            parser.error(f"--candidates must include one for {system}, got only those for other networks: "
                         f"{', '.join(map(repr, args.candidates))}")

    def read():
        return _measure.read(args.name, ["held_out", "runs"]).get("runs", [])

    for seed in args.seeds:
        for system in args.only:
            for candidate, classifier in of_each[system].items():
                key = {"system": system, "candidate": candidate, "seed": seed, "images": args.images,
                       "epochs": args.epochs}
                classifier.set_params(max_epochs=args.epochs, random_state=seed, device=args.device)
                key["settings"] = _measure.text_of(classifier)
                if any(run.items() >= key.items() for run in read()):
                    continue
                network = _measure.fitted(clone(classifier), X[:args.images], y[:args.images], args.device,
                                          FOLDER / args.name)
                seconds = sum(network.history_[:, "dur"])           # also of a fit that was interrupted
                accuracy = network.score(X[-HELD_OUT:], y[-HELD_OUT:])
                run = {**key, "accuracy": accuracy, "fit_seconds": seconds, **_measure.of_a_row()}
                print(f"{system}, {candidate}, seed {seed}: {accuracy:.4f} in {seconds:.0f} s", flush=True)
                _measure.write(args.name, {"held_out": HELD_OUT, "runs": [*read(), run]})   # others may have added some
    print(f"results in {_measure.RESULTS / args.name}.json")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "the same command continues")

"""The most accurate networks: the best single one, the best ensemble, and the best with few parameters.

    python examples/benchmarks/accuracy.py --choose "under 25k"      # compare its candidates on held-out images
    python examples/benchmarks/accuracy.py --only single             # train the chosen one on all training images
    python examples/benchmarks/accuracy.py --device cuda

Candidates are trained on 54,000 training images and compared by their accuracy on the other 6,000. The chosen one is
trained on all 60,000 to its last epoch, after which the test images are read once. "Taught" networks learn from an
ensemble that is trained first, on the same images. On CUDA, goals have networks of their own, and the single networks
are the members of the ensemble.

Interrupted fits continue when the script is run again; ensembles keep the members that are complete. Writes
results/accuracy.json after every run. Runs that are in it are not repeated, unless --afresh is given; runs of other
settings, or of a candidate that another one has replaced, are removed once those that replace them are complete.
"""
import argparse
import ast
import shutil
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import _measure
import torch
from sklearn.base import BaseEstimator, clone

from fmnist_sk import (
    CutMix,
    DeepEnsembleClassifier,
    Preset,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    ResNetClassifier,
    load_fashion_mnist,
    recipe,
    reference_system,
)
from fmnist_sk.reference import OUR_RECIPE

FOLDER = Path("output")     # of unfinished fits


class Goal(NamedTuple):
    """An accuracy to reach, and the candidates for it, of which the best on held-out images is chosen."""

    accuracy: float
    candidates: dict[str, BaseEstimator]
    seeds: tuple[int, ...] = (0,)
    members: tuple[str, float] | None = None    # name of what the members of the ensemble are singly, and its goal


def residual(**params):
    """The default network behind a whitening layer, with these settings."""
    return ResNetClassifier(**{"stem": "18W3-MP2ceil", "dropout": 0.0, "augment": "fashion",
                               "tta": ("mirror", "shift"), **params})


def small(**params):
    """The same without the dense layer, which has most of the parameters."""
    return residual(**{"hidden": 0, "pool": 4, **params})


LARGE = residual(width=64, n_blocks=(1, 1, 1), max_epochs=95)
UNSMOOTHED = ResNetClassifier(**recipe("accurate", label_smoothing=0.0))
TAUGHT = {"teacher": DeepEnsembleClassifier(UNSMOOTHED, n_members=4, random_state=0), "teacher_weight": 0.9,
          "label_smoothing": 0.0}
MEMBER = ResNetClassifier(**recipe("accurate"))
WIDE = ResNetClassifier(**recipe("wide", "cuda", max_epochs=300, ema=0.999, augment=[
    RandomCrop(padding=2), RandomHorizontalFlip(), RandomErasing(), CutMix(p=0.5)]))
GOALS = {
    "cpu": {
        "single": Goal(0.956, {
            "width 64, three stages": LARGE,
            "inception, 75 epochs": reference_system("inception", OUR_RECIPE, max_epochs=75),
            "second_cnn, 100 epochs": reference_system("second_cnn", OUR_RECIPE, max_epochs=100),
            "second_cnn, 100 epochs, CutMix": reference_system(
                "second_cnn", OUR_RECIPE, max_epochs=100, augment=[Preset("fashion"), CutMix(p=0.5)])}),
        "ensemble": Goal(0.959, {"6 of the recipe accurate": DeepEnsembleClassifier(MEMBER, n_members=6)}),
        "under 25k": Goal(0.940, {
            "width 16, 36 epochs": small(width=16, max_epochs=36, weight_decay=2e-4),
            "width 16, 60 epochs": small(width=16, max_epochs=60, weight_decay=2e-4),
            "width 16, 60 epochs, taught": small(width=16, max_epochs=60, weight_decay=2e-4, **TAUGHT)},
            seeds=(0, 1, 2)),
        "under 100k": Goal(0.949, {
            "width 32, 24 epochs": small(max_epochs=24),
            "width 32, 40 epochs": small(max_epochs=40),
            "width 32, 60 epochs, taught": small(max_epochs=60, **TAUGHT)}, seeds=(0, 1, 2)),
        "under 300k": Goal(0.957, {
            "width 64, 50 epochs": small(width=64, max_epochs=50),
            "width 40, four blocks, 50 epochs": small(width=40, n_blocks=(2, 2), max_epochs=50),
            "ResNet-20, 60 epochs": small(width=16, n_blocks=(3, 3, 3), stem="16C3", max_epochs=60),
            "second_cnn with 72 units, 60 epochs": reference_system(
                "second_cnn", OUR_RECIPE, architecture="32C3-32C3-MP2-64C3-64C3-MP2-72N", max_epochs=60),
            "inception with 96 units, 50 epochs": reference_system(
                "inception", OUR_RECIPE, hidden=96, max_epochs=50),
            "inception with 96 units, 50 epochs, taught": reference_system(
                "inception", OUR_RECIPE, hidden=96, max_epochs=50, **TAUGHT)},
            seeds=(0, 1, 2)),
    },
    "cuda": {
        "ensemble": Goal(0.965, {"3 of the recipe wide with CutMix and averaged weights, 300 epochs":
                                 DeepEnsembleClassifier(WIDE, n_members=3, together=False)}, members=("single", 0.962)),
    },
}


def mean_the_same(settings, estimator):
    """Whether `text_of` another estimator says what this one is; what is a default may be said or left out."""
    values = [estimator, *estimator.get_params().values()]
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    classes = {type(part).__name__: type(part) for part in parts}
    try:
        meant = evaluated(ast.parse(settings, mode="eval").body, classes)
    except (SyntaxError, TypeError, ValueError):        # of another class, or of an earlier version
        return False
    return _measure.text_of(meant) == _measure.text_of(estimator)


def evaluated(node, classes):
    """The value of an expression of literals and calls of these classes; raises ValueError for others."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in classes:
            return classes[name](*(evaluated(value, classes) for value in node.args),
                                 **{keyword.arg: evaluated(keyword.value, classes) for keyword in node.keywords})
        case ast.List():
            return [evaluated(value, classes) for value in node.elts]
        case ast.Tuple():
            return tuple(evaluated(value, classes) for value in node.elts)
    return ast.literal_eval(node)


def members(estimator):
    """The networks of an estimator that was fitted."""
    return getattr(estimator, "estimators_", [estimator])


def fitted(estimator, seed, X, y, device, folder):
    """An estimator with this seed, trained on these images; continues a call that was interrupted."""
    return _measure.fitted(clone(estimator).set_params(random_state=seed), X, y, device, folder, verbose=1,
                           keep_checkpoint=True, checkpoint_every=2 if device == "cpu" else 20)


def figures(estimator):
    networks = members(estimator)
    return {"epochs": networks[0].n_iter_, "members": len(networks),
            "parameters": sum(p.numel() for network in networks for p in network.module_.parameters()),
            "seconds_per_epoch": statistics.median(row["dur"] for network in networks for row in network.history_),
            "arithmetic": _measure.arithmetic(networks[0])}


def try_candidate(name, estimator, seed, train, device, folder):
    """The accuracy of a candidate on held-out training images."""
    X, X_valid, y, y_valid = _measure.held_out(train)
    estimator = fitted(estimator, seed, X, y, device, folder)
    return {"candidate": name, "seed": seed, "valid_accuracy": estimator.score(X_valid, y_valid), **figures(estimator)}


def measured(name, estimator, seed, test):
    """What a chosen candidate that was trained on all training images says of the test images."""
    start = time.perf_counter()
    right = estimator.predict(test.images) == test.target
    return {"candidate": name, "seed": seed, "test_accuracy": float(right.mean()),
            "test_accuracy_of_each_class": [float(right[test.target == label].mean()) for label in range(10)],
            "predict_seconds": time.perf_counter() - start, **figures(estimator)}


def of_members(name, ensemble, test):
    """What the members of an ensemble reach, each by itself."""
    return [measured(f"one of {name}", member, member.random_state, test) for member in members(ensemble)]


def chosen(name, goal, tried, file):
    """The candidate that was best on held-out images, or the only one."""
    if len(goal.candidates) == 1:
        return next(iter(goal.candidates))
    accuracies = {candidate: [row["valid_accuracy"] for row in tried if mean_the_same(row["settings"], estimator)]
                  for candidate, estimator in goal.candidates.items()}
    if missing := [candidate for candidate, values in accuracies.items() if not values]:
        raise SystemExit(f'{name}: not yet tried on held-out images: {", ".join(missing)}. Run accuracy.py --choose '
                         f'"{name}" --name {file} first.')
    return max(accuracies, key=lambda candidate: statistics.mean(accuracies[candidate]))


def main():
    goals = GOALS["cpu"] | GOALS["cuda"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=goals, help="these goals (default: all)")
    parser.add_argument("--choose", nargs="+", choices=goals, help="compare these goals' candidates instead")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", help="random seeds (default: those of the goal; with "
                        "--choose 0)")
    parser.add_argument("--afresh", action="store_true", help="discard the runs in the file, and unfinished fits")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: accuracy, or "
                        "accuracy_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("accuracy", args.device)
    here = GOALS[torch.device(args.device).type]
    if missing := set(args.choose or args.only or ()) - set(here):
        parser.error(f"{args.device} has the goals {', '.join(here)}; got {', '.join(sorted(missing))}")
    if args.choose and args.only:
        parser.error("--choose compares candidates, --only trains what was chosen: give one of them")
    content = _measure.read(args.name, ["device", "goals"]).get("goals", {})
    if not args.choose:
        best = {name: chosen(name, here[name], content.get(name, {}).get("choice", ()), args.name)
                for name in args.only or here}
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    where = _measure.of_a_row() | {"device": args.device}
    for name in args.choose or args.only or here:
        goal = here[name]
        found = content.setdefault(name, {})
        kind = "choice" if args.choose else "runs"
        folder = FOLDER / args.name / f"{name} {kind}".replace(" ", "_")
        candidates = goal.candidates if args.choose else {best[name]: goal.candidates[best[name]]}
        rows, of_each = found.setdefault(kind, []), []
        if goal.members and not args.choose:
            of_each = content.setdefault(goal.members[0], {}).setdefault("runs", [])

        def remove_others(rows=rows, of_each=of_each, candidates=candidates):
            """Runs of other settings, or of other candidates: what replaces them is complete."""
            for some in (rows, of_each):
                some[:] = [row for row in some if any(mean_the_same(row["settings"], candidate)
                                                      for candidate in candidates.values())]

        if args.afresh:
            shutil.rmtree(folder, ignore_errors=True)
            rows.clear()
            of_each.clear()
        _measure.write(args.name, {"device": args.device, "goals": content})
        for seed in args.seeds or ((0,) if args.choose else goal.seeds):
            for candidate, estimator in candidates.items():
                if any(row["seed"] == seed and mean_the_same(row["settings"], estimator) for row in rows):
                    continue
                settings = {"settings": _measure.text_of(estimator)}
                print(f"{name}: {candidate}, seed {seed}", flush=True)
                if args.choose:
                    row = try_candidate(candidate, estimator, seed, train, args.device, folder)
                else:
                    network = fitted(estimator, seed, train.images, train.target, args.device, folder)
                    row = measured(candidate, network, seed, test)
                    if goal.members:
                        of_each += [{**own, **settings, **where} for own in of_members(candidate, network, test)]
                rows.append({**row, **settings, **where})
                if not args.choose:             # other candidates are still to be tried
                    remove_others()
                print(", ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float)),
                      flush=True)
                _measure.write(args.name, {"device": args.device, "goals": content})
                shutil.rmtree(folder, ignore_errors=True)       # of fits whose figures are kept now
        remove_others()
        _measure.write(args.name, {"device": args.device, "goals": content})
    print(f"results in {_measure.RESULTS / args.name}.json")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "the same command, without --afresh, continues")

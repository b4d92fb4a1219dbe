"""From raw bytes in memory to a fitted classifier: how long does it take to reach a test accuracy?

    python examples/benchmarks/speedrun.py --choose             # compare settings on held-out training images
    python examples/benchmarks/speedrun.py                      # the timed runs

The clock starts with the uint8 arrays of the 60,000 training images in memory and stops when fit returns. The network
and its recipe are those of `recipe(name, device)`. The test images are read once after each run. A fit of a few images
goes first, because the first fit of a process is slower. This extra time is measured too: it is the time of a first
small fit in a process of its own, minus that of a second.

--choose compares settings of a recipe: it trains on 54,000 training images and measures the accuracy on the other
6,000. That accuracy is some half a percent higher than on test images, so the number of epochs should be the smallest
with an accuracy well above the goal. What all recipes have in common was found by choose_recipe.py and
training_craft.py.

Writes results/speedrun.json after every run. Runs that are in it are not repeated, unless --afresh is given; runs of
other settings are removed once the first that replaces them is complete.
"""
import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import _measure
import torch

from fmnist_sk import ResNetClassifier, load_fashion_mnist, recipe


class Goal(NamedTuple):
    """The accuracy that a recipe should reach, if it has a goal, and the time for it in seconds."""

    seeds: range
    accuracy: float | None = None
    cpu: float | None = None            # of two cores
    cuda: float | None = None


GOALS = {"default": Goal(range(3), 0.943, cpu=190), "fashion": Goal(range(3)),
         "fast": Goal(range(5), 0.94, cpu=60, cuda=2), "accurate": Goal(range(3), 0.95, cpu=480, cuda=8),
         "wide": Goal(range(3), 0.957, cuda=90)}
CANDIDATES = {              # what --choose compares: settings of a recipe on a device
    "cpu": {
        "fast": [{"max_epochs": 4}, {"max_epochs": 5}, {}, {"batch_size": 512, "lr": 0.6}] + [
            {"max_epochs": 5, **params} for params in ({"lr": 0.3}, {"batch_size": 128, "lr": 0.2},
                                                       {"stem": "32C3-MP2ceil"}, {"tta": None, "tta_below": None})],
        "accurate": [{"stem": "18W3-MP2ceil", "max_epochs": 20}, {"stem": "18W3-MP2ceil", "max_epochs": 27},
                     {"stem": "18W3-32C3-MP2ceil", "max_epochs": 16}, {"stem": "18W3-32C3-MP2ceil", "max_epochs": 22},
                     *({"batch_size": 256, "lr": 0.4, "max_epochs": n} for n in (12, 14, 16))],
    },
    "cuda": {
        "fast": [{"batch_size": 256, "lr": 0.2, "max_epochs": 6}, {"batch_size": 256, "lr": 0.2, "max_epochs": 7},
                 {"batch_size": 512, "lr": 0.3, "max_epochs": 8}],
        "accurate": [{"batch_size": 128}, {"batch_size": 256}],
        "wide": [{"max_epochs": 50}, {"max_epochs": 100}],
    },
}


def timed(action, device):
    """Seconds of an action, and what it returns."""
    start = time.perf_counter()
    result = action()
    if kind_of(device) == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def kind_of(device):
    return torch.device(device).type


def classifier_of(name, seed, device, **params):
    return ResNetClassifier(**recipe(name, device) | params, random_state=seed, device=device)


def small_fits(name, X, y, device, n_fits):
    """Seconds of each of some fits of a few images."""
    return [timed(lambda: classifier_of(name, 0, device, max_epochs=1).fit(X, y), device)[0] for _ in range(n_fits)]


def cold_start(name, X, y, device):
    """Seconds by which the first fit of a process is slower than the next, in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        first, second = process.submit(small_fits, name, X, y, device, 2).result()
    return first - second


def settings_of(name, device, params):
    return {key: repr(value) for key, value in (recipe(name, device) | params).items()}


def try_settings(name, params, seed, train, device):
    """The accuracy of a recipe with these settings on held-out training images."""
    X, X_valid, y, y_valid = _measure.held_out(train)
    classifier = classifier_of(name, seed, device, **params)
    seconds, _ = timed(lambda: classifier.fit(X, y), device)
    return {"epochs": classifier.n_iter_, "seed": seed, "valid_accuracy": classifier.score(X_valid, y_valid),
            "fit_seconds": seconds, "settings": settings_of(name, device, params)}


def run(name, seed, train, test, device):
    """One fit on the clock."""
    classifier = classifier_of(name, seed, device)
    seconds, _ = timed(lambda: classifier.fit(train.images, train.target), device)
    prediction, predicted = timed(lambda: classifier.predict(test.images), device)
    return {"seed": seed, "epochs": classifier.n_iter_, "fit_seconds": seconds, "predict_seconds": prediction,
            "test_accuracy": float((predicted == test.target).mean()),
            "parameters": sum(p.numel() for p in classifier.module_.parameters()),
            "settings": settings_of(name, device, {}),
            "arithmetic": _measure.arithmetic(classifier)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=GOALS, help="recipes to run (default: all that have a goal "
                        "on the device, or on none)")
    parser.add_argument("--choose", action="store_true", help="compare settings on held-out images instead")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", help="random seeds (default: those of the goal; with "
                        "--choose 0 and 1)")
    parser.add_argument("--afresh", action="store_true", help="discard the runs in the file")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: speedrun, or "
                        "speedrun_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("speedrun", args.device)
    kind = kind_of(args.device)
    candidates = CANDIDATES[kind] if args.choose else {
        name: [{}] for name, goal in GOALS.items() if goal.accuracy is None or getattr(goal, kind)}
    names = args.recipes or list(candidates)
    if without := [name for name in names if name not in candidates]:
        parser.error(f"{'settings are compared' if args.choose else 'there are goals'} on {kind} for "
                     f"{', '.join(candidates)}; got {', '.join(without)}")
    content = _measure.read(args.name, ["device", "recipes"]).get("recipes", {})
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    where = _measure.of_a_row() | {"device": args.device}
    for name in names:
        goal, found = GOALS[name], content.setdefault(name, {})
        part = "choice" if args.choose else "runs"
        wanted = [settings_of(name, args.device, params) for params in candidates[name]]
        if args.afresh:
            found[part] = []
        rows = [row for row in found.get(part, []) if row["settings"] in wanted]
        seeds = args.seeds or ((0, 1) if args.choose else goal.seeds)
        todo = [(params, seed) for params, settings in zip(candidates[name], wanted, strict=True)
                for seed in dict.fromkeys(seeds)
                if all((row["settings"], row["seed"]) != (settings, seed) for row in rows)]
        _measure.write(args.name, {"device": args.device, "recipes": content})
        if todo and not args.choose:
            few = train.images[:2048], train.target[:2048]      # enough batches for steps to be recorded
            found["cold_start"] = {"seconds": cold_start(name, *few, args.device), **where}
            small_fits(name, *few, args.device, n_fits=1)
        for params, seed in todo:
            row = try_settings(name, params, seed, train, args.device) if args.choose else \
                run(name, seed, train, test, args.device)
            rows.append({**row, **where})
            found[part] = rows          # without those of other settings
            print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()
                                          if isinstance(value, (int, float))), flush=True)
            _measure.write(args.name, {"device": args.device, "recipes": content})
        found[part] = rows
        _measure.write(args.name, {"device": args.device, "recipes": content})
    print(f"results in {_measure.RESULTS / args.name}.json")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "the same command, without --afresh, continues")

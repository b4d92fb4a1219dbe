"""How sure must a network be of an image for test-time views to be unnecessary? Thresholds compared.

    python examples/benchmarks/choose_tta.py
    python examples/benchmarks/choose_tta.py --recipes fast --epochs 1 --images 1000
    python examples/benchmarks/choose_tta.py --recipes default --views shift      # of a recipe without views

Each recipe is trained on all training images but 6,000, and predicts these in several ways: without views, with all of
them, and with views only of images whose largest probability is below a threshold. The chosen threshold is the lowest
whose mean accuracy over the seeds is no worse than that with all views for every image; 0 means that no views are
needed. The test images are not read. Times are for all held-out images, with the ways in turn. Writes
results/choose_tta.json after each fit; the same command continues, unless the recipe has other settings by then.
"""
import argparse
import statistics
import time

import _measure
import numpy as np

from fmnist_sk import ResNetClassifier, load_fashion_mnist, recipe
from fmnist_sk.recipes import RECIPES

THRESHOLDS = 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95
VIEWS = {"mirror": "mirror", "shift": "shift", "both": ("mirror", "shift")}


def judged(classifier, X, y, rounds):
    """Accuracy, share of images with views, and seconds for each way."""
    views, plain = classifier.tta, classifier.set_params(tta=None, tta_below=None).predict_proba(X).max(1)
    ways = {"no views": {"tta": None}, "all views": {"tta": views},
            **{str(threshold): {"tta": views, "tta_below": threshold} for threshold in THRESHOLDS}}

    def seconds(params):
        classifier.set_params(**{"tta_below": None, **params})
        begin = time.perf_counter()
        classifier.predict(X)
        return time.perf_counter() - begin

    times = _measure.alternate({way: lambda params=params: seconds(params) for way, params in ways.items()}, rounds,
                               verbose=False)
    found = {}
    for way, params in ways.items():
        classifier.set_params(**{"tta_below": None, **params})
        below = params.get("tta_below", 0.0 if params["tta"] is None else np.inf)
        found[way] = {"accuracy": classifier.score(X, y), "share": float((plain < below).mean()),
                      "seconds": statistics.median(times[way])}
    return found


def compared(runs):
    """The runs, their means, and the threshold that they choose."""
    means = {way: {key: statistics.mean(run["ways"][way][key] for run in runs) for key in found}
             for way, found in runs[0]["ways"].items()}
    ways = {0.0: "no views", **{threshold: str(threshold) for threshold in THRESHOLDS}}
    enough = [threshold for threshold, way in ways.items()
              if means[way]["accuracy"] >= means["all views"]["accuracy"]]
    return {"runs": runs, "means": means, "chosen": min(enough, default=None)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["fast"], help="recipes to try "
                        "(default: fast)")
    parser.add_argument("--views", choices=VIEWS, help="views to try (default: the recipe's own)")
    parser.add_argument("--images", type=_measure.count, help="images to train on (default: all that are not held out)")
    parser.add_argument("--epochs", type=_measure.count, help="epochs of a fit (default: the recipe's)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0, 1, 2], help="random seeds (default: "
                        "0 1 2)")
    parser.add_argument("--rounds", type=_measure.count, default=3, help="timed rounds of predictions (default: 3)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: choose_tta, or "
                        "choose_tta_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("choose_tta", args.device)
    X, X_valid, y, y_valid = _measure.held_out(load_fashion_mnist("train"))
    recipes = _measure.read(args.name, ["held_out", "recipes"]).get("recipes", {})
    for name in args.recipes:
        params = {**recipe(name, args.device, tta_below=None), "device": args.device}
        if args.views:
            params["tta"] = VIEWS[args.views]
        if params.get("tta") is None:
            parser.error(f"--views must say what to try: the recipe {name} has none")
        if args.epochs:
            params["max_epochs"] = args.epochs
        settings = {"images": args.images, "settings": {key: repr(value) for key, value in params.items()}}
        old = recipes.get(name, {})
        runs = old["runs"] if old.items() >= settings.items() else []
        for seed in args.seeds:
            if any(run["seed"] == seed for run in runs):
                continue
            classifier = ResNetClassifier(**params, random_state=seed).fit(X[:args.images], y[:args.images])
            runs.append({"seed": seed, "ways": judged(classifier, X_valid, y_valid, args.rounds),
                         **_measure.of_a_row(), "device": args.device})
            recipes[name] = {**settings, **compared(runs)}
            path = _measure.write(args.name, {"held_out": len(X_valid), "recipes": recipes})
            print(f"{name}, seed {seed}: wrote {path}", flush=True)
        for way, found in recipes[name]["means"].items():
            print(f"{name}, {way}: {found['accuracy']:.4f}, views of {found['share']:.1%}, {found['seconds']:.2f} s")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main)

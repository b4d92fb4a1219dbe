"""The recommended network and its recipes on Fashion-MNIST: all training images, test accuracy, several seeds.

    python examples/benchmarks/recipes.py

The recipes were chosen on validation splits by choose_recipe.py and training_craft.py. Here every run trains to its
fixed last epoch, and the test images are read once. Writes results/recipes.json, anew after every run; runs already in
it are not repeated.
"""
import argparse
import json
import time

import _measure

from fmnist_sk import ResNetClassifier, load_fashion_mnist, recipe
from fmnist_sk.recipes import RECIPES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="which (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="random seeds (default: 0 1 2)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", default="recipes", help="name of the result file")
    args = parser.parse_args()

    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    path = _measure.RESULTS / f"{args.name}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    where = {name: _measure.environment()[name] for name in ("git", "torch_threads")}      # rows may be of several runs
    for seed in args.seeds:
        for name in args.recipes:
            classifier = ResNetClassifier(**recipe(name), random_state=seed, device=args.device, verbose=1)
            what = {"recipe": name, "settings": {key: classifier.get_params(deep=False)[key]
                                                 for key in _measure.RECIPE}, "seed": seed}
            if any(what.items() <= run.items() for run in runs):
                continue
            start = time.perf_counter()
            classifier.fit(train.images, train.target)
            fitted = time.perf_counter()
            accuracy = classifier.score(test.images, test.target)
            runs.append({**what, "test_accuracy": accuracy, "fit_seconds": fitted - start,
                         "predict_seconds": time.perf_counter() - fitted,
                         "parameters": sum(p.numel() for p in classifier.module_.parameters()), **where})
            print(f"{name}, seed {seed}: {accuracy:.4f}", flush=True)
            _measure.write(args.name, {"device": args.device, "runs": runs})
    print(f"results in {path}")


if __name__ == "__main__":
    main()

"""How ResNetClassifier's defaults were chosen: candidates compared on held-out training images.

    python examples/benchmarks/choose_recipe.py [--only wide ...]

Trains on 54,000 training images and compares accuracies on the other 6,000 after the last epoch. The test images are
never read. Writes results/choose_recipe.json after every run; runs already in it are not repeated.
"""
import argparse
import json
import time

import _measure

from fmnist_sk import ResNetClassifier, load_fashion_mnist

RECIPE = ("stem", "width", "n_blocks", "hidden", "dropout", "lr", "max_epochs", "batch_size", "optimizer", "momentum",
          "weight_decay", "label_smoothing", "schedule", "augment", "precision")       # what ResNetClassifier is set to
START = {"lr": 0.1, "max_epochs": 8, "augment": "fashion"}      # changed one at a time; all else as by default
CANDIDATES = {
    "start": {},
    "lr 0.05": {"lr": 0.05},
    "lr 0.2": {"lr": 0.2},
    "weight decay 1e-3": {"weight_decay": 1e-3},
    "batches of 256": {"batch_size": 256, "lr": 0.2},
    "no hidden layer": {"hidden": 0},
    "width 48, 5 epochs": {"max_epochs": 5, "width": 48},
    "10 epochs": {"max_epochs": 10},
    "three stages": {"n_blocks": (1, 1, 1)},
    "lr 0.2, 9 epochs (the default now)": {"lr": 0.2, "max_epochs": 9},
    "adamw": {"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    **{f"light, {name}": {"augment": "light", "lr": 0.2, "max_epochs": 9, **params} for name, params in {
        "9 epochs": {},
        "batches of 256": {"batch_size": 256, "lr": 0.4},
        "whitened": {"stem": "18W3-MP2ceil"},
        "whitened, no dropout": {"stem": "18W3-MP2ceil", "dropout": 0.0},
        "whitened, batches of 256": {"stem": "18W3-MP2ceil", "batch_size": 256, "lr": 0.4},
        "whitened, batches of 256, 12 epochs": {"stem": "18W3-MP2ceil", "batch_size": 256, "lr": 0.4, "max_epochs": 12},
    }.items()},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES),
                        help="these candidates (default: all)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0], help="random seeds (default: 0)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: choose_recipe, or "
                        "choose_recipe_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("choose_recipe", args.device)

    X, y = load_fashion_mnist(return_X_y=True)
    path = _measure.RESULTS / f"{args.name}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in args.seeds:
        for name in args.only:
            classifier = ResNetClassifier(**{**START, **CANDIDATES[name]}, validation_fraction=6000,
                                          keep_best=False, random_state=seed, device=args.device)
            recipe = {key: classifier.get_params(deep=False)[key] for key in RECIPE}
            recipe["n_blocks"] = list(recipe["n_blocks"])
            if any(run["recipe"] == recipe and run["seed"] == seed for run in runs):
                continue
            start = time.perf_counter()
            classifier.fit(X, y)
            history = classifier.history_
            runs.append({
                "candidate": name, "seed": seed, "recipe": recipe,
                "parameters": sum(p.numel() for p in classifier.module_.parameters()),
                "epochs": len(history), "fit_seconds": time.perf_counter() - start,
                "valid_acc": history[-1, "valid_acc"], "train_acc": history[-1, "train_acc"],
                "valid_acc_of_epochs": history[:, "valid_acc"], **_measure.of_a_row(),
                "device": args.device,
            })
            print(f"{name:24s} seed {seed}: {runs[-1]['valid_acc']:.4f} in {runs[-1]['fit_seconds']:.0f} s, "
                  f"{runs[-1]['parameters']:,} parameters", flush=True)
            _measure.write(args.name, {"device": args.device, "runs": runs})
    print(f"results in {path}")


if __name__ == "__main__":
    main()

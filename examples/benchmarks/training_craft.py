"""How augmentations, losses, schedules, optimizers and averages change the default ResNet, and tricks for a fast one.

    python examples/benchmarks/training_craft.py                # one change at a time, 20,000 training images
    python examples/benchmarks/training_craft.py --finalists    # recipes, all training images but 6,000, 3 seeds

Accuracies are those on held-out training images (10,000, or 6,000 for the finalists) after the last epoch; the test
images are never read. Writes results/training_craft.json after every run; runs already in it are not repeated.
"""
import argparse
import json
import time

import _measure
from _tricks import AlternatingFlip, Epochs, IdentityResNet, Lookahead, Muon, bias_rate
from sklearn.model_selection import train_test_split

from fmnist_sk import (
    AugmentedCopies,
    Constant,
    CutMix,
    Exponential,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    ReduceOnPlateau,
    ResNetClassifier,
    load_fashion_mnist,
)
from fmnist_sk.reference import SHIRTLIKE_CLASSES

EPOCHS = 12
FASHION = {"augment": "fashion"}
CUTOUT = {"area": (0.25, 0.25), "aspect": (1, 1), "fill": 0.0, "inside": False}
AUGMENTATIONS = {
    "none": None,
    "flip": RandomHorizontalFlip(),
    "crop, padding 1": RandomCrop(padding=1),
    "crop, padding 2": RandomCrop(padding=2),
    "crop, padding 4": RandomCrop(padding=4),
    "affine, shift and zoom 0.1": RandomAffine(),
    "affine, rotation 10, shear 5": RandomAffine(shift=0, zoom=0, rotation=10, shear=5),
    "erasing, random": RandomErasing(),
    "erasing, mean": RandomErasing(fill="mean"),
    "erasing, background": RandomErasing(fill=0.0),
    "cutout": RandomErasing(p=1.0, **CUTOUT),
    "noise, all pixels": GaussianNoise(),
    "noise, foreground": GaussianNoise(where="foreground"),
    "brightness": RandomBrightness(),
    "mixup": MixUp(),
    "cutmix": CutMix(),
    "cutmix, p 0.5": CutMix(p=0.5),
    "mirrored copies": AugmentedCopies(),
    **{f'"{name}"': name for name in ("light", "fashion", "strong", "report_2", "report_3")},    # report_1 is fashion
}
LOSSES = {
    "cross-entropy, smoothing 0.1": {},
    "cross-entropy": {"label_smoothing": 0.0},
    "focal, gamma 2": {"criterion": "focal", "label_smoothing": 0.0},
    "focal, gamma 1": {"criterion": "focal", "criterion__gamma": 1.0, "label_smoothing": 0.0},
    "sigmoid": {"criterion": "sigmoid", "label_smoothing": 0.0},
    "sigmoid, smoothing 0.1": {"criterion": "sigmoid"},
    "squared error": {"criterion": "mse", "label_smoothing": 0.0},
    "squared error, lr 1": {"criterion": "mse", "label_smoothing": 0.0, "lr": 1.0, "weight_decay": 1e-4},
    "cross-entropy, report 3's weights": {"class_weight": dict.fromkeys(SHIRTLIKE_CLASSES, 2.0)},
    "triplet term 0.1": {"triplet_weight": 0.1},
    "triplet term 1": {"triplet_weight": 1.0},
}
SCHEDULES = {
    "one-cycle": {},
    "constant": {"schedule": Constant()},
    "constant, lr 0.05": {"schedule": Constant(), "lr": 0.05},
    "multi-step": {"schedule": "multi_step"},
    "exponential, 0.7 an epoch": {"schedule": Exponential(factor=0.7)},
    "plateau": {"schedule": ReduceOnPlateau(patience=1, factor=0.3)},
    "cosine": {"schedule": "cosine"},
}
OPTIMIZERS = {
    "sgd": {},
    "adam": {"optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0},
    "adamw": {"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3, "weight_decay": 0.0},
    "asgd": {"optimizer": "asgd", "lr": 0.5},
    "sgd, decay of biases too": {"decay_biases": True},
    "sgd, gradients clipped at 1": {"gradient_clip": 1.0},
    "sgd, SAM 0.05": {"sam_rho": 0.05},
    "sgd, SAM 0.1": {"sam_rho": 0.1},
}
AVERAGES = {
    "none": {},
    "EMA 0.99": {"ema": 0.99},
    "EMA 0.999": {"ema": 0.999},
    "constant, lr 0.05, EMA 0.999": {"schedule": Constant(), "lr": 0.05, "ema": 0.999},
    "constant, lr 0.05, SWA from 0.5": {"schedule": Constant(), "lr": 0.05, "swa": 0.5},
    "TTA mirror": {"tta": "mirror"},
    "TTA mirror and shift": {"tta": ("mirror", "shift")},
}
RECORDS = {                         # what speed records on CIFAR-10 are made of
    "whitened first layer": {},
    "first layer trained": {"stem": "32C3-MP2ceil"},
    "biases 8 times as fast": bias_rate(8),
    "biases 64 times as fast": bias_rate(64),
    "convolutions begin as the identity": {"module": IdentityResNet},
    "alternating mirror images": {"augment": [AlternatingFlip(), RandomCrop(padding=1)],
                                  "callbacks": [("epochs", Epochs)]},
    "Lookahead": {"callbacks": [("lookahead", Lookahead)]},
    "Muon": {"optimizer": Muon},
    "Muon, half the rate": {"optimizer": Muon, "optimizer__rate": 0.6},
    "EMA 0.99": {"ema": 0.99},
}
GROUPS = {
    "augmentation": {name: {"augment": augment} for name, augment in AUGMENTATIONS.items()},
    "loss": {name: {**FASHION, **params} for name, params in LOSSES.items()},
    "schedule": {name: {**FASHION, **params} for name, params in SCHEDULES.items()},
    "optimizer": {name: {**FASHION, **params} for name, params in OPTIMIZERS.items()},
    "averaging and inference": {name: {**FASHION, **params} for name, params in AVERAGES.items()},
    "speed records": {name: {**FASHION, "stem": "18W3-MP2ceil", "dropout": 0.0, **params}
                      for name, params in RECORDS.items()},
}
FINALISTS = {                       # chosen by the table; with the default's 9 epochs where nothing else is said
    "default": {},
    '"fashion"': FASHION,
    '"fashion", EMA 0.99': {**FASHION, "ema": 0.99},
    '"fashion", 18 epochs': {**FASHION, "max_epochs": 18},
    '"fashion" and cutmix with p 0.5, 18 epochs': {
        "augment": [RandomCrop(padding=1), RandomHorizontalFlip(), CutMix(p=0.5)], "max_epochs": 18},
}


def train(params, n_train, n_valid, seed, device):
    """Train to the last epoch on `n_train` images; what is measured on `n_valid` others."""
    X, y = load_fashion_mnist(return_X_y=True)
    X, X_valid, y, y_valid = train_test_split(X, y, train_size=n_train, test_size=n_valid, stratify=y, random_state=0)
    classifier = ResNetClassifier(validation_data=(X_valid, y_valid), keep_best=False, random_state=seed,
                                  device=device).set_params(**params)
    start = time.perf_counter()
    classifier.fit(X, y)
    seconds = time.perf_counter() - start
    return {"seed": seed, "epochs": classifier.max_epochs, "valid_acc": classifier.score(X_valid, y_valid),
            "train_acc": classifier.history_[-1, "train_acc"], "fit_seconds": seconds,
            "valid_acc_of_epochs": classifier.history_[:, "valid_acc"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finalists", action="store_true", help="compare recipes on all training images but 6,000")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="these groups of changes "
                        "(default: all)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", help="random seeds (default: 0; for the finalists "
                        "0 1 2)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: training_craft, or "
                        "training_craft_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("training_craft", args.device)

    if args.finalists:
        sizes, seeds = (54_000, 6_000), args.seeds or [0, 1, 2]
        todo = [("finalist", name, params) for name, params in FINALISTS.items()]
    else:
        sizes, seeds = (20_000, 10_000), args.seeds or [0]
        todo = [(group, name, {"max_epochs": EPOCHS, **params})
                for group in args.groups for name, params in GROUPS[group].items()]
    path = _measure.RESULTS / f"{args.name}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    where = _measure.of_a_row() | {"device": args.device}
    for seed in seeds:
        for group, name, params in todo:
            what = {"group": group, "name": name, "changes": {key: repr(value) for key, value in params.items()},
                    "n_train": sizes[0], "n_valid": sizes[1]}
            if any(what.items() <= row.items() and row["seed"] == seed for row in runs):
                continue
            same = [row for row in runs if row["changes"] == what["changes"] and row["seed"] == seed
                    and row["n_train"] == sizes[0]]                 # such as each group's first row
            runs.append({**same[0], **what} if same else {**what, **train(params, *sizes, seed, args.device), **where})
            print(f"{group}: {name}, seed {seed}: {runs[-1]['valid_acc']:.4f} in {runs[-1]['fit_seconds']:.0f} s",
                  flush=True)
            _measure.write(args.name, {"device": args.device, "runs": runs})
    print(f"results in {path}")


if __name__ == "__main__":
    main()

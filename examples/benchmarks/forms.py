"""Are other forms of images learned as well as gray on black? The default recipe on several forms of one data set.

    python examples/benchmarks/forms.py [--only inverted ...]

Trains on 20,000 training images of Fashion-MNIST and measures the accuracy on 6,000 others, gray on black and in other
forms of the same content, with three seeds each. Does the same with scikit-learn's digits, of which a fifth is held
out. Nothing is chosen, and the test images are not read. Writes results/forms.json after every run; runs that are in it
are not repeated.
"""
import argparse
import time

import _measure
import numpy as np
from _tables import percent
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fmnist_sk import ResNetClassifier, load_fashion_mnist

N_IMAGES = 20_000


def channels(*values):
    """Images (n, channels, 28, 28) of these channels, of which numbers stand for constant ones."""
    shape = next(value.shape for value in values if not isinstance(value, int))
    return np.stack([np.broadcast_to(np.uint8(value), shape) for value in values], 1)


FORMS = {
    "gray on black": lambda x: x,
    "inverted": lambda x: 255 - x,
    "RGB": lambda x: channels(x, x, x),
    "RGB, blue constant": lambda x: channels(x, x, 255),
    "RGB, opposite and narrow": lambda x: channels(x, 255 - x, 100 + x // 16),
    "RGBA, opaque": lambda x: channels(x, x, x, 255),
    "RGBA, cut out": lambda x: channels(x, x, x, 255 * (x > 0)),
    "floats, inverted": lambda x: 1 - x / np.float32(255),
}


def data_of(form):
    """X, X_valid, y, y_valid in this form."""
    if form == "digits":
        digits = load_digits()
        return train_test_split(digits.images, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    X, X_valid, y, y_valid = _measure.held_out(load_fashion_mnist("train"))
    return FORMS[form](X[:N_IMAGES]), FORMS[form](X_valid), y[:N_IMAGES], y_valid


def main():
    names = [*FORMS, "digits"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these forms (default: all)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0, 1, 2], help="seeds (default: 0 1 2)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: forms, or "
                        "forms_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("forms", args.device)
    runs = _measure.read(args.name, ["runs"]).get("runs", [])
    for seed in args.seeds:
        for form in args.only:
            if any((run["form"], run["seed"]) == (form, seed) for run in runs):
                continue
            X, X_valid, y, y_valid = data_of(form)
            start = time.perf_counter()
            classifier = ResNetClassifier(random_state=seed, device=args.device).fit(X, y)
            runs.append({"form": form, "seed": seed, "n_images": len(X), "image_shape": list(classifier.image_shape_),
                         "valid_accuracy": classifier.score(X_valid, y_valid),
                         "train_accuracy": classifier.history_[-1, "train_acc"],
                         "fit_seconds": time.perf_counter() - start, **_measure.of_a_row(),
                         "device": args.device})
            print(f"{form}, seed {seed}: {100 * runs[-1]['valid_accuracy']:.2f} %", flush=True)
            _measure.write(args.name, {"runs": runs})
    for form in args.only:
        found = [run["valid_accuracy"] for run in runs if run["form"] == form]
        print(f"{form:26s} {percent(found)} %, {len(found)} seeds")


if __name__ == "__main__":
    main()

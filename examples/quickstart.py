"""From raw Fashion-MNIST images to a trained, inspected and saved classifier, in about three minutes on two CPU cores.

    python examples/quickstart.py

Prints the test accuracy and a report, and writes learning curves, the confusion matrix and the fitted model to
output/quickstart. If Fashion-MNIST is not available, the script says so and uses scikit-learn's digits instead.
"""
import argparse
import time
from importlib.util import find_spec

import numpy as np
from _output import add_output, place_for
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split

import fmnist_sk
from fmnist_sk import ConfusionDisplay, HistoryDisplay, ResNetClassifier, load_fashion_mnist

for package in ("matplotlib", "safetensors"):        # asked for now, not after the training
    if find_spec(package) is None:
        raise SystemExit(f"The quickstart needs {package}: pip install 'fmnist_sk[plot,save]'")


WRITTEN = "confusion_matrix.png", "learning_curves.png", "model.safetensors"


def load(data_home, download):
    """Training images and labels, test images and labels, class names, and whether it is Fashion-MNIST."""
    try:
        train, test = (load_fashion_mnist(subset, data_home=data_home, download_if_missing=download)
                       for subset in ("train", "test"))
        return train.images, train.target, test.images, test.target, train.target_names, True
    except (FileNotFoundError, ValueError) as error:
        print(f"{'!' * 78}\nFASHION-MNIST IS NOT AVAILABLE: continuing with scikit-learn's 8 x 8 DIGITS, enlarged.\n"
              f"The figures below are not those of Fashion-MNIST.\n{error}\n{'!' * 78}\n")
    digits = load_digits()
    images = np.kron(digits.images, np.ones((3, 3)))                          # 24 x 24 pixels
    X_train, X_test, y_train, y_test = train_test_split(images, digits.target, stratify=digits.target,
                                                        test_size=0.2, random_state=0)
    return X_train, y_train, X_test, y_test, np.array([f"digit {i}" for i in range(10)]), False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, help="passes over the training images (default: the classifier's own)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--data-home", help="folder to search first for the Fashion-MNIST files")
    parser.add_argument("--no-download", action="store_true", help="never download")
    add_output(parser, "output/quickstart", "folder for pictures and model")
    args = parser.parse_args()
    try:
        args.output = place_for(args, "output/quickstart", WRITTEN)
        args.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))

    start = time.perf_counter()
    X_train, y_train, X_test, y_test, names, is_fashion = load(args.data_home, not args.no_download)
    print(f"{len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} x {X_train.shape[2]} pixels")
    classifier = ResNetClassifier(augment="fashion" if is_fashion else "light", validation_fraction=0.05,
                                  random_state=args.seed, device=args.device, verbose=1)
    if args.epochs:
        classifier.set_params(max_epochs=args.epochs)
    classifier.fit(X_train, y_train)

    y_pred = classifier.predict(X_test)
    print(f"\ntest accuracy: {accuracy_score(y_test, y_pred):.4f}\n")
    print("recall is the accuracy of a class")
    print(classification_report(y_test, y_pred, target_names=names, digits=3))

    HistoryDisplay.from_estimator(classifier).figure_.savefig(args.output / "learning_curves.png", dpi=120)
    ConfusionDisplay.from_predictions(y_test, y_pred, X_test, class_names=names).figure_.savefig(
        args.output / "confusion_matrix.png", dpi=120)
    fmnist_sk.save(classifier, args.output / "model.safetensors")

    reloaded = fmnist_sk.load(args.output / "model.safetensors")
    print("\nthe reloaded model on the first test images:")
    for truth, probabilities in zip(y_test[:5], reloaded.predict_proba(X_test[:5]), strict=True):
        guess = probabilities.argmax()
        print(f"  {names[truth]:12s} is predicted as: {names[guess]} ({probabilities[guess]:.1%})")
    print(f"\nwrote {', '.join(str(args.output / name) for name in WRITTEN)}"
          f"\ntook {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()

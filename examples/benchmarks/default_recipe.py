"""The recommended default on Fashion-MNIST, from all training images to the test images, for several seeds.

    python examples/benchmarks/default_recipe.py

The recipe was chosen on a validation split by choose_recipe.py. Here every run trains to its fixed last epoch, and the
test images are read once. Writes results/default_recipe.json, anew after every seed.
"""
import argparse
import time

import _measure

from fmnist_sk import ResNetClassifier, load_fashion_mnist


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="random seeds (default: 0 1 2)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", default="default_recipe", help="name of the result file")
    args = parser.parse_args()

    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    runs = []
    for seed in args.seeds:
        classifier = ResNetClassifier(augment="fashion", random_state=seed, device=args.device, verbose=1)
        start = time.perf_counter()
        classifier.fit(train.images, train.target)
        fitted = time.perf_counter()
        accuracy = classifier.score(test.images, test.target)
        runs.append({"seed": seed, "test_accuracy": accuracy, "fit_seconds": fitted - start,
                     "predict_seconds": time.perf_counter() - fitted})
        print(f"seed {seed}: {accuracy:.4f}")
        path = _measure.write(args.name, {
            "device": args.device,
            "recipe": {name: classifier.get_params(deep=False)[name] for name in _measure.RECIPE},
            "parameters": sum(p.numel() for p in classifier.module_.parameters()), "runs": runs})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

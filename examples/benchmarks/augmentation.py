"""What augmentation costs compared with a training step of the default ResNet.

    python examples/benchmarks/augmentation.py

Times 40 training steps without augmentation, and 40 augmentations of a batch by each preset and each random
transformer, alternating in one run. Reports the ratio of the latter to the former. Writes results/augmentation.json.
"""
import argparse
import time

import _measure
import numpy as np
import torch

from fmnist_sk import (
    CutMix,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    ResNetClassifier,
    load_fashion_mnist,
)
from fmnist_sk._data.images import Batch
from fmnist_sk.augmentation import PRESETS, compile_augmentation, learn_pixels

STEPS = 40
ALONE = [RandomHorizontalFlip(), RandomCrop(), RandomAffine(rotation=10.0, shear=5.0), RandomErasing(),
         RandomErasing(fill=0.0), GaussianNoise(), RandomBrightness(), MixUp(), CutMix()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=_measure.count, default=15, help="rounds that count (default: 15)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: augmentation, or "
                        "augmentation_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("augmentation", args.device)

    data = load_fashion_mnist()
    X, y = data.images, data.target
    device = torch.device(args.device)
    classifier = ResNetClassifier(augment=None, max_epochs=1, random_state=0, device=args.device)
    classifier.fit(X[:2000], y[:2000])
    size = classifier.batch_size
    batches = [(torch.from_numpy(X[i * size:(i + 1) * size])[:, None].to(device),
                torch.from_numpy(y[i * size:(i + 1) * size].astype(np.int64)).to(device)) for i in range(STEPS)]

    def timed(function):
        def side():
            start = time.perf_counter()
            for pixels, codes in batches:
                function(pixels, codes)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start
        return side

    def augmenting(augment):
        change = compile_augmentation(augment, np.arange(10), learn_pixels(batches[0][0]).on(device),
                                      torch.Generator(device).manual_seed(0))
        return timed(lambda pixels, codes: change(Batch(pixels, codes)))

    sides = {"training step": timed(lambda pixels, codes: classifier.train_step(
        ({"x": pixels.float(), "weights": None}, codes)))}
    sides |= {name: augmenting(name) for name in PRESETS} | {repr(step): augmenting(step) for step in ALONE}
    times = _measure.alternate(sides, args.rounds)
    shares = {name: _measure.ratio(times[name], times["training step"]) for name in list(sides)[1:]}
    for name, share in shares.items():
        print(f"{name:40s} {share['median']:6.1%} of a training step [{share['low']:.1%}, {share['high']:.1%}]")
    path = _measure.write(args.name, {
        "device": args.device, "batch_size": size, "rounds": args.rounds, "precision": _measure.arithmetic(classifier),
        "milliseconds_of_a_step": 1e3 * sorted(times["training step"])[args.rounds // 2] / STEPS,
        "share_of_a_training_step": shares})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

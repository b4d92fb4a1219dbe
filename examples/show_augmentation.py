"""Draw what each random transformer does to images, in a row for each.

    python examples/show_augmentation.py [--preset report_3] [--output picture.png]

The first row shows the images before. Transformers are applied to all images (p=1). The last rows are presets as they
are used in training.
"""
import argparse

import numpy as np
from _output import add_output, place_for

from fmnist_sk import (
    AugmentationDisplay,
    CutMix,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    load_fashion_mnist,
)
from fmnist_sk.augmentation import PRESETS

TRANSFORMERS = {
    "before": None,
    "RandomHorizontalFlip()": RandomHorizontalFlip(p=1),
    "RandomCrop(padding=4)": RandomCrop(padding=4),
    "RandomAffine(shift=0.1, zoom=0.1)": RandomAffine(shift=0.1, zoom=0.1),
    "RandomAffine(0, 0, rotation=20, shear=15)": RandomAffine(0, 0, rotation=20, shear=15),
    "RandomErasing()": RandomErasing(p=1),
    'RandomErasing(fill="mean")': RandomErasing(p=1, fill="mean"),
    "Cutout": RandomErasing(p=1, area=(0.25, 0.25), aspect=(1, 1), fill=0.0, inside=False),
    "GaussianNoise()": GaussianNoise(p=1),
    'GaussianNoise(where="foreground")': GaussianNoise(p=1, where="foreground"),
    "RandomBrightness()": RandomBrightness(p=1),
    "MixUp(alpha=1)": MixUp(alpha=1),
    "CutMix()": CutMix(),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["fashion", "strong", "report_3"],
                        help="presets to show (default: fashion strong report_3)")
    parser.add_argument("--images", type=int, choices=range(1, 101), metavar="N", default=10,
                        help="images in a row (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--data-home", help="folder to search first for the Fashion-MNIST files")
    add_output(parser, "output/augmentation.png", "the picture to write")
    args = parser.parse_args()

    data = load_fashion_mnist(data_home=args.data_home)
    chosen = [np.flatnonzero(data.target == i % 10)[i // 10] for i in range(args.images)]
    rows = {**TRANSFORMERS, **{f'augment="{name}"': name for name in args.preset}}
    try:
        args.output = place_for(args, "output/augmentation.png")
        display = AugmentationDisplay.from_augmenters(rows, data.images[chosen], data.target[chosen],
                                                      random_state=args.seed)
    except (ImportError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    display.figure_.savefig(args.output, dpi=70)
    print(f"wrote {args.output}: {len(rows)} rows of {args.images} image{'s' * (args.images > 1)}")


if __name__ == "__main__":
    main()

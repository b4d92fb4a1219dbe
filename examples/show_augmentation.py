"""What each random transformer does to images: a picture, one row each, before and after.

    python examples/show_augmentation.py [--preset report_3] [--output picture.png]

Every transformer is applied to all images (p=1); the last rows are presets as they are used in training.
"""
import argparse
from pathlib import Path

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
    load_fashion_mnist,
)
from fmnist_sk._batches import Batch
from fmnist_sk.augmentation import PRESETS, PixelRange, compile_augmentation

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws with matplotlib: pip install 'fmnist_sk[plot]'") from None

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
    parser.add_argument("--data-home", help="folder of the Fashion-MNIST files")
    parser.add_argument("--output", type=Path, default=Path("output/augmentation.png"), help="the picture")
    args = parser.parse_args()

    data = load_fashion_mnist(data_home=args.data_home)
    classes = torch.arange(10).numpy()
    codes = torch.arange(args.images) % 10
    first = [int((data.target == code).nonzero()[0][i // 10]) for i, code in enumerate(codes.tolist())]
    images = torch.from_numpy(data.images[first])[:, None]
    rows = {**TRANSFORMERS, **{f'augment="{name}"': name for name in args.preset}}
    figure, axes = plt.subplots(len(rows), args.images, figsize=(args.images * 0.8 + 3, len(rows) * 0.85),
                                layout="constrained", squeeze=False)
    for (name, augment), row in zip(rows.items(), axes, strict=True):
        batch = Batch(images.float(), codes)
        change = compile_augmentation(augment, classes, PixelRange(0.0, 255.0),
                                      torch.Generator().manual_seed(args.seed))
        if change is not None:
            change(batch)
        for image, axis in zip(batch.x[:, 0], row, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, dpi=70)
    print(f"wrote {args.output}: {len(rows)} rows of {args.images} images")


if __name__ == "__main__":
    main()

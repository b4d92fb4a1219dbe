"""
From a photo to an image as in Fashion-MNIST
============================================

``PhotoToFashion`` applies the steps by which Fashion-MNIST was made: trim, downscale, sharpen, centre, invert and
convert to grayscale. The photos are in the repository: run this script anywhere inside it.
"""
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from fmnist_sk import CLASS_NAMES, PhotoToFashion, load_pretrained

cwd = Path.cwd()
folder = next(path / "examples/pictures" for path in (cwd, *cwd.parents) if (path / "examples/pictures").exists())
photos = [folder / "sneaker.jpg", folder / "dress.png"]
images, model = PhotoToFashion().fit_transform(photos), load_pretrained()

figure, axes = plt.subplots(2, 2, figsize=(6, 6), layout="constrained")
for row, photo, image, probabilities in zip(axes, photos, images, model.predict_proba(images), strict=True):
    row[0].imshow(Image.open(photo))
    row[1].imshow(image, cmap="gray")
    row[1].set_title(f"{CLASS_NAMES[probabilities.argmax()]}: {probabilities.max():.0%}")
    for ax in row:
        ax.axis("off")
plt.show()

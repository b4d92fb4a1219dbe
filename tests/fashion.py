"""Fashion-MNIST itself: the mark of tests that need it, and a part of it for what is to be quick."""
import pytest

from fmnist_sk import datasets, load_fashion_mnist

real_data = pytest.mark.skipif(not (datasets.SYSTEM_FOLDER / "train-images-idx3-ubyte.gz").exists(),
                               reason="the real data are not installed (Debian's package dataset-fashion-mnist)")


def first_images(subset):
    """load_fashion_mnist that gives the first 600 images."""
    data = load_fashion_mnist(subset)
    data.images, data.target = data.images[:600], data.target[:600]
    return data

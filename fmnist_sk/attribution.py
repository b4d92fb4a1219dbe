"""Where in an image the evidence for a prediction lies."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._network.rows import MIN_ROWS
from fmnist_sk._network.tracing import Hooks, layers_by_name, trace_layers
from fmnist_sk._runtime.cpu import use_cpu
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.inspection import POOLINGS, classifier_of, through

CHUNK = 256         # images in a pass with gradients


def grad_cam(classifier: ImageClassifier, X: ArrayLike | Tensor, y: ArrayLike | None = None, layer: str | None = None
             ) -> np.ndarray:
    """Where the evidence for a class lies in each image: gradient-weighted class activation maps.

    The maps A_k of a layer are multiplied by the gradients of the class's logit and summed, and only positive values
    are kept: ``relu(sum_k (d logit / d A_k) A_k)``. Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391)
    averages the gradients over positions. In a network that pools globally the result is the same; with heads that keep
    positions apart, such as the default ResNet's, only the gradients at each position show where the evidence is
    (HiResCAM: Draelos and Carin, 2020, https://arxiv.org/abs/2011.08891). Evidence can lie where an image is empty, for
    example where another class has sleeves.

    Parameters
    ----------
    classifier : ImageClassifier, or Pipeline that ends in one
        A fitted classifier.
    X : array-like or tensor
        Images in any form that the classifier accepts.
    y : array-like of shape (n,), optional
        Labels to explain; default: the predicted ones.
    layer : name of a layer, as in `summary`, whose output is a map
        Default: the last layer that is not a pooling and gives maps of more than one pixel per side.

    Returns
    -------
    ndarray of shape (n, H, W), float32
        Maps of the images' size: from 0 to 1, the strongest evidence in that image; all 0 if no position of the layer's
        maps is evidence for the class.

    Raises
    ------
    TypeError
        For other estimators.
    ValueError
        For a layer whose output is not a map, and for labels that the classifier does not know.
    NotFittedError
        If the classifier is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, grad_cam
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> grad_cam(net, X[:2]).shape
    (2, 8, 8)
    """
    steps, classifier = classifier_of(classifier, "classifier")
    check_is_fitted(classifier)
    network = classifier.module_.network
    layer = _last_map(classifier) if layer is None else layer
    layers = layers_by_name(network, [layer], "layer")
    images: Any = through(steps, X)
    pixels = classifier.get_dataset(images).tensor()
    labels = classifier.predict(images) if y is None else column_or_1d(np.asarray(y))
    if len(labels) != len(images):
        raise ValueError(f"y must hold a label for each of the {len(images)} images, got {len(labels)}.")
    if unknown := set(labels.tolist()) - set(classifier.classes_.tolist()):
        raise ValueError(f"y must hold labels of {classifier.classes_.tolist()}, got {sorted(unknown, key=str)}.")
    codes = torch.from_numpy(np.searchsorted(classifier.classes_, labels))
    with use_cpu(classifier.n_threads):
        parts = [_maps(classifier, layers, x, code.to(x.device))
                 for x, code in zip(pixels.split(CHUNK), codes.split(CHUNK), strict=True)]
    maps = torch.cat(parts)[:, :classifier.image_shape_[1], :classifier.image_shape_[2]]       # without padding
    strongest = maps.amax((1, 2), keepdim=True)
    return (maps / torch.where(strongest > 0, strongest, 1.0)).cpu().numpy()


def _maps(classifier: ImageClassifier, layers: dict[str, nn.Module], pixels: Tensor, codes: Tensor) -> Tensor:
    """Maps (n, height, width) of a chunk of images, from 0 to any number."""
    x = F.pad(pixels.float(), (0, 0) * 3 + (0, max(0, MIN_ROWS - len(pixels)))).requires_grad_()
    classifier.module_.eval()
    with torch.enable_grad(), Hooks(layers) as seen:
        logits = classifier.module_(x)[:len(pixels)]
        (_, activations), = seen.values()
        if activations.ndim != 4:
            raise ValueError(f"layer must give maps (n, channels, height, width), but {next(iter(layers))!r} gives "
                             f"{tuple(activations.shape)}.")
        gradients, = torch.autograd.grad(logits.gather(1, codes[:, None]).sum(), activations)
    maps = (gradients * activations).sum(1, keepdim=True).relu()[:len(pixels)].detach()
    return F.interpolate(maps, pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def _last_map(classifier: ImageClassifier) -> str:
    """Name of the layer that `grad_cam` uses by default. Raise ValueError if there is none."""
    network = classifier.module_.network
    layers = {name: layer for name, layer in network.named_modules() if name}
    seen = trace_layers(classifier.module_, layers, classifier._encoder.network_shape)
    pooled = [output for name, (_, output) in seen.items() if isinstance(layers[name], POOLINGS)]
    names = [name for name, (_, output) in seen.items() if output.ndim == 4 and min(output.shape[2:]) > 1
             and not any(output is other for other in pooled)]          # such as of blocks that end in a pooling
    if not names:
        raise ValueError("layer must name a layer whose output is a map, but no layer of this network has one with "
                         "more than one pixel, got layer=None.")
    return names[-1]

"""Looking inside networks: layers and their cost, intermediate feature maps, and features for other estimators."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fmnist_sk._data.containers import wants_tensor
from fmnist_sk._estimator.parts import network_builder, prepare_unfitted
from fmnist_sk._network.tracing import count, is_layer, layer_outputs, layers_by_name, trace_layers
from fmnist_sk._runtime.parameters import Estimator
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks
from fmnist_sk.classifier import ImageClassifier

POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
_MAPS = (nn.Conv1d, nn.Conv2d, *POOLINGS)


def summary(classifier: ImageClassifier) -> pd.DataFrame:
    """The layers of a classifier's network, for one image.

    An unfitted classifier is described as ``initialize()`` would build it, without pretrained weights: for ten classes
    and images of `image_shape`, by default 28 x 28 with one channel.

    Parameters
    ----------
    classifier : ImageClassifier, or a Pipeline that ends in one
        Fitted or not.

    Returns
    -------
    pandas.DataFrame
        A row for each layer, in the order of computation, and one named "total" at the end. Index: the layer's name, as
        accepted by `feature_maps` and `FeatureExtractor`. Columns: type; output_shape (channels, height, width) or
        (features,); parameters; multiply_adds (of convolutions and matrix products; the total includes those outside of
        layers). ``print(summary(classifier).to_string())`` shows every row.

    Raises
    ------
    TypeError
        For other estimators.

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, summary
    >>> print(summary(ConvNetClassifier(architecture="8C3-MP2-16N")))  # doctest: +NORMALIZE_WHITESPACE
                       type output_shape  parameters  multiply_adds
    features.0       Conv2d  (8, 28, 28)          80          56448
    features.1  BatchNorm2d  (8, 28, 28)          16              0
    features.2         ReLU  (8, 28, 28)           0              0
    features.3    MaxPool2d  (8, 14, 14)           0              0
    head.0           Linear        (16,)       25104          25088
    head.1             ReLU        (16,)           0              0
    head.2          Dropout        (16,)           0              0
    head.3           Linear        (10,)         170            160
    total           ConvNet        (10,)       25370          81696
    """
    _, classifier = classifier_of(classifier, "classifier")
    if classifier.initialized_:
        module, encoder = classifier.module_, classifier._encoder
    else:
        encoder, generators = prepare_unfitted(clone(classifier))
        module = network_builder(classifier, encoder).build(generators.seed)
    layers = {name: layer for name, layer in module.network.named_modules() if name and is_layer(layer)}
    with FlopCounterMode(display=False) as counter:
        seen = trace_layers(module, layers, encoder.network_shape)
    operations = counter.get_flop_counts()
    multiply_adds = {name: sum(counts.values()) // 2 for name, counts in operations.items()}
    counted: set[nn.Parameter] = set()
    parameters = {}
    for name in sorted(seen, key=lambda name: -name.count(".")):         # a layer counts what its sublayers do not
        found = set(layers[name].parameters()) - counted
        parameters[name] = sum(parameter.numel() for parameter in found)
        counted |= found
    rows = [(name, type(layers[name]).__name__, tuple(output.shape[1:]), parameters[name],
             multiply_adds.get(f"{type(module).__name__}.network.{name}", 0)) for name, (_, output) in seen.items()]
    rows.append(("total", type(module.network).__name__, (len(encoder.classes),), count(module.network),
                 multiply_adds.get("Global", 0)))
    names, *columns = zip(*rows, strict=True)
    return pd.DataFrame(dict(zip(("type", "output_shape", "parameters", "multiply_adds"), columns, strict=True)),
                        index=list(names))


def feature_maps(classifier: ImageClassifier, X: ArrayLike | Tensor, layers: Sequence[str] | None = None
                 ) -> dict[str, np.ndarray]:
    """Outputs of layers of a fitted classifier's network for images X.

    Parameters
    ----------
    classifier : ImageClassifier, or Pipeline that ends in one
        A fitted classifier.
    X : array-like or tensor
        Images in any form that the classifier accepts.
    layers : names of layers, as in `summary` and ``classifier.module_.network.named_modules()``
        Default: all convolutions and poolings.

    Returns
    -------
    dict of str to ndarray
        Outputs by layer name, in the order of computation: (n, channels, height, width) float32, or n and whatever
        shape the layer's output has.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    TypeError
        For other estimators.
    ValueError
        For names that the network does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, feature_maps
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> {name: maps.shape for name, maps in feature_maps(net, X[:2]).items()}
    {'features.0': (2, 4, 8, 8)}
    """
    if layers is not None and (isinstance(layers, str) or not isinstance(layers, Iterable)):
        raise TypeError(f"layers must be a list of names, got layers={layers!r}.")
    steps, classifier = classifier_of(classifier, "classifier")
    check_is_fitted(classifier)
    network = classifier.module_.network
    names = ([name for name, module in network.named_modules() if isinstance(module, _MAPS)] if layers is None
             else list(layers))
    found: dict[str, list[Tensor]] = {}
    for seen in layer_outputs(classifier, through(steps, X), layers_by_name(network, names, "layers")):
        if layers is not None and (silent := [name for name in names if name not in seen]):
            raise ValueError(f"layers must name layers whose output is a tensor, got {silent}.")
        for name, (_, output) in seen.items():
            found.setdefault(name, []).append(output.float().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


class FeatureExtractor(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """A network as a transformer: the output of one of its layers as features for another estimator.

    ``make_pipeline(FeatureExtractor(ResNetClassifier()), SVC())`` trains a network and an SVC on its features; in
    cross-validation both are trained inside the fold. ``FeatureExtractor(FrozenEstimator(fitted))`` uses a fitted
    network without training it.

    Parameters
    ----------
    estimator : ImageClassifier, Pipeline that ends in one, or FrozenEstimator of one of these
        A clone of it is fitted; a FrozenEstimator is used as it is.
    layer : str, optional
        Name of a layer, as in `summary`; its output is flattened. Default: the penultimate features, i.e. the input of
        the last layer that has parameters and no sublayers.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    n_features_in_, feature_names_in_ : as in scikit-learn
        Number of values per image, and the column names if X was a DataFrame with names.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> from fmnist_sk import ConvNetClassifier, FeatureExtractor
    >>> pipeline = make_pipeline(FeatureExtractor(ConvNetClassifier(max_epochs=3)), SVC())
    """

    def __init__(self, estimator, layer: str | None = None):
        self.estimator = estimator
        self.layer = layer

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None, **fit_params) -> Self:
        """Fit a clone of `estimator`.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The training images.
        y : array-like or tensor of shape (n,), optional
            Their labels; a FrozenEstimator needs none.
        **fit_params
            Passed on, such as sample_weight.

        Returns
        -------
        FeatureExtractor
            The transformer itself.

        Raises
        ------
        TypeError
            For estimators other than those above.
        ValueError
            If the network has no such `layer`.
        """
        classifier_of(self.estimator, "estimator")
        if not isinstance(self.layer, (str, NoneType)):
            raise TypeError(f"layer must be the name of a layer or None, got layer={self.layer!r}.")
        with one_task(self, X, y):
            self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        _, classifier = classifier_of(self.estimator_, "estimator")
        network = classifier.module_.network
        if self.layer is None:
            layers = {name: layer for name, layer in network.named_modules()
                      if count(layer) and not any(True for _ in layer.children())}
        else:
            layers = layers_by_name(network, [self.layer], "layer")
        seen = trace_layers(classifier.module_, layers, classifier._encoder.network_shape)
        self._part = 0 if self.layer is None else 1              # the layer's input, or its output
        self._layer: str = list(seen)[-1] if seen else ""
        features = seen[self._layer][self._part] if seen else None
        if features is None:
            raise ValueError("layer must name a layer whose output is a tensor" + (
                f", got layer={self.layer!r}." if self.layer is not None else
                ": the input of the last layer is not a tensor, so layer=None cannot be used."))
        self._n_features_out = features[0].numel()
        return self

    def transform(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """Compute the layer's output.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray or tensor of shape (n, n_features)
            Features, float32; a tensor on X's device if X is a tensor and scikit-learn's ``array_api_dispatch`` is on.
        """
        check_is_fitted(self)
        steps, classifier = classifier_of(self.estimator_, "estimator")
        layers = layers_by_name(classifier.module_.network, [self._layer], "layer")
        found = (seen[self._layer][self._part] for seen in layer_outputs(classifier, through(steps, X), layers))
        features = torch.cat([part.flatten(1).float() for part in found if part is not None])
        return features.to(X.device) if wants_tensor(X) else features.cpu().numpy()

    @property
    def n_features_in_(self) -> int:
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        return self.estimator_.feature_names_in_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if hasattr(self.estimator, "__sklearn_tags__") and not isinstance(self.estimator, type):
            tags.input_tags = get_tags(self.estimator).input_tags
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []         # features are float32
        return tags


def classifier_of(estimator, parameter: str) -> tuple[list, ImageClassifier]:
    """The steps before a classifier, and the classifier. Raise TypeError naming `parameter` for other estimators."""
    found, steps = estimator, []
    while isinstance(found, (FrozenEstimator, Pipeline)):
        if isinstance(found, Pipeline):
            steps += [found[:-1]] if len(found) > 1 else []
            found = found[-1]
        else:
            found = found.estimator
    if not isinstance(found, ImageClassifier):
        raise TypeError(f"{parameter} must be an ImageClassifier such as ResNetClassifier(), a Pipeline that ends in "
                        f"one, or a FrozenEstimator of one of these, got {estimator!r:.200}.")
    return steps, found


def through(steps: list, X: Any) -> Any:
    """Images X transformed by the fitted `steps` from `classifier_of`."""
    for step in steps:
        X = step.transform(X)
    return X

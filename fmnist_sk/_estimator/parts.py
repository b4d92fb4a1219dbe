"""From a classifier's parameters to the objects that it consists of."""
from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.shapes import check_image_shape
from fmnist_sk._estimator.protocol import NetProtocol
from fmnist_sk._network.build import NetworkBuilder
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.random import new_seed
from fmnist_sk._runtime.device import choose_device


def network_builder(net: NetProtocol, encoder: ImageEncoder) -> NetworkBuilder:
    """The builder of a classifier's network for the images and classes that were learned."""
    scaling = (torch.tensor(encoder.mean), torch.tensor(encoder.std)) if net.standardize else None
    return NetworkBuilder(net.module, own_params(net), net.get_params_for("module"), encoder.network_shape,
                          len(encoder.classes), scaling)


def own_params(net: NetProtocol) -> dict[str, Any]:
    """Parameters added by a subclass: those named in the module's signature are passed to it."""
    kind: Any = type(net)
    first: Any = next(base for base in reversed(kind.__mro__) if "__dataclass_fields__" in vars(base))
    of_all = {field.name for field in fields(first)}                # of ImageClassifier
    return {field.name: getattr(net, field.name) for field in fields(kind) if field.name not in of_all}


def prepare_unfitted(net: NetProtocol) -> tuple[ImageEncoder, Generators]:
    """What an unfitted classifier assumes: ten classes, and images of `image_shape` or 28 x 28."""
    net._validate_params()
    shape = check_image_shape(net.image_shape) or (1, 28, 28)
    net.n_features_in_ = math.prod(shape)
    encoder = ImageEncoder(type(net).__name__, np.arange(10), shape, net._minimum_size(), choose_device(net.device))
    return encoder, Generators(new_seed(net.random_state), encoder.device)

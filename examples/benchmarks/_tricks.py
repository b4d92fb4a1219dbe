"""What CIFAR-10's speed records use and the package does without, for training_craft.py to compare.

As in K. Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024, https://arxiv.org/abs/2404.00498.
"""
import math

import torch
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk.augmentation import RandomTransformer
from fmnist_sk.networks.resnet import ResNet

LOOKAHEAD_STEPS, LOOKAHEAD_DECAY = 5, 0.95
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315     # coefficients that bring singular values near 1 in few iterations


class AlternatingFlip(RandomTransformer):
    """Mirror half of the images in one epoch and the other half in the next; their pixels say which half."""

    epoch = 0

    def _change(self, batch, allowed, generator, pixel_range):
        half = batch.x.flatten(1).sum(1).long() % 2 == self.epoch % 2
        batch.x = torch.where(half[:, None, None, None], batch.x.flip(-1), batch.x)


class Epochs(Callback):
    """Tells transformers which epoch it is."""

    def on_epoch_begin(self, net, **kwargs):
        for transformer in net.augment:
            transformer.epoch = len(net.history)


class Lookahead(Callback):
    """Weights that follow the network's slowly, more so towards the end, and that it is set back to every few steps."""

    def on_train_begin(self, net, X, **kwargs):
        self.slow = {name: value.clone() for name, value in net.module_.state_dict().items()}
        self.steps, self.all_steps = 0, net.max_epochs * math.ceil(len(X) / net.batch_size)

    @torch.no_grad()
    def on_batch_end(self, net, training, **kwargs):
        self.steps += training
        if not training or self.steps % LOOKAHEAD_STEPS:
            return
        decay = LOOKAHEAD_DECAY ** LOOKAHEAD_STEPS * (self.steps / self.all_steps) ** 3
        for name, value in net.module_.state_dict().items():
            if value.is_floating_point():
                value.copy_(self.slow[name].lerp_(value, 1 - decay))


class Muon(torch.optim.Optimizer):
    """SGD whose steps of convolutions are made orthogonal; these keep weights of a constant norm.

    After K. Jordan, Muon: an optimizer for hidden layers in neural networks, 2024,
    https://kellerjordan.github.io/posts/muon/.

    lr, momentum, weight_decay : those of all parameters but the weights of convolutions
    rate, filter_momentum : of these weights; their learning rate is `rate` times `lr`
    """

    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0, rate=1.2, filter_momentum=0.6):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "rate": rate,
                                  "filter_momentum": filter_momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                is_filter = parameter.ndim == 4
                decay = group["filter_momentum" if is_filter else "momentum"]
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                change = parameter.grad.add(mean.mul_(decay).add_(parameter.grad), alpha=decay)
                if is_filter:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                    parameter.sub_(orthogonal(change.flatten(1)).view_as(parameter), alpha=group["lr"] * group["rate"])
                else:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=group["lr"])


def orthogonal(x, iterations=5):
    """A matrix with the singular vectors of x, and singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    is_tall = len(x) > x.shape[1]
    x = x.T if is_tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if is_tall else x


class IdentityResNet(ResNet):
    """Its blocks' 3 x 3 convolutions begin as the identity, as far as they have inputs, and the rest as usual."""

    def __init__(self, in_channels, image_shape, n_classes, **params):
        super().__init__(image_shape, n_classes, **params)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                with torch.no_grad():
                    nn.init.dirac_(layer.weight[:layer.in_channels])


def bias_rate(factor, lr=0.2):
    """Settings for biases that learn `factor` times as fast as all else; decay is where it was."""
    plain = {"weight_decay": 0.0}
    return {"lr": lr, "optimizer__param_groups": [
        ("*bias", {**plain, "lr": factor * lr}), ("*.1.weight", plain), ("*norm.weight", plain)]}

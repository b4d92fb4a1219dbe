"""Random numbers of a network, from generators of its own, which no other thread draws from."""
from __future__ import annotations

import copy

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def new_seed(random_state: int | np.random.RandomState | None) -> int:
    """The seed of a generator, drawn from a parameter `random_state`."""
    return int(check_random_state(random_state).randint(2**31 - 1))


class Dropout(nn.Dropout):
    """nn.Dropout that draws from its own generator.

    PyTorch's can only use the global one, whose numbers depend on what other threads draw.
    """

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept if self.p == 1 else x * kept.div_(1 - self.p)

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "generator"}


def use_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let all element-wise dropout in `module` draw from `generator`."""
    replaced: dict[nn.Module, Dropout] = {}           # one layer can occur in several places
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if type(child) is nn.Dropout:
                child = parent._modules[name] = replaced.setdefault(child, Dropout(child.p).train(child.training))
            if isinstance(child, Dropout):
                child.generator = generator


def draws_random_numbers(module: nn.Module, x: Tensor) -> bool:
    """Whether training on x draws from the global generator, as nn.Dropout2d or F.dropout do."""
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    copied = copy.deepcopy(module).cpu().train()
    with torch.no_grad(), DrawFrom(generator):
        use_generator(copied, torch.Generator())
        copied(x)
    return not torch.equal(before, generator.get_state())


class DrawFrom(TorchDispatchMode):
    """Context in which this thread's random numbers come from `generators`, each of which is for its kind of device.

    PyTorch's layers initialise themselves from the global generator, which other threads use and seed.
    """

    def __init__(self, *generators: torch.Generator):
        super().__init__()
        self.generators = {generator.device.type: generator for generator in generators}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if "generator" not in {argument.name for argument in func._schema.arguments}:
            func = getattr(func.overloadpacket, "generator", func)       # torch.rand and the like have two overloads
        if kwargs.get("generator") is None and "generator" in {argument.name for argument in func._schema.arguments}:
            device = kwargs.get("device") or next((x.device for x in args if isinstance(x, Tensor)), "cpu")
            kwargs = {**kwargs, "generator": self.generators.get(torch.device(device).type)}
        return func(*args, **kwargs)

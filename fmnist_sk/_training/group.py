"""Several networks of one architecture as one network of grouped convolutions, which trains them together."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import islice

import torch
from torch import Tensor

from fmnist_sk._runtime.graphs import Recorded
from fmnist_sk._training.joined import CannotJoin, Joined, join
from fmnist_sk._training.steps import Steps


class Group:
    """Nets that are at the same point of their fits, and take their steps at the same time.

    Raises CannotJoin.
    """

    def __init__(self, nets: Sequence[Steps]):
        for net in nets:
            own = [name for name in ("train_step", "train_step_single", "infer")
                   if getattr(type(net), name) is not getattr(Steps, name)]
            if own or net._draws or net.triplet_weight:
                raise CannotJoin(f"{type(net).__name__} takes steps of its own kind")
        self.nets = list(nets)
        first = nets[0]
        x = torch.rand(4, *first._network_shape, generator=torch.Generator().manual_seed(0)).to(first.device_)
        low, high = first.value_range_
        try:
            self.module = join([net.module_ for net in nets], low + (high - low) * x)
        except CannotJoin:
            self.separate()
            raise
        self.recorded = Recorded(self._gradients, [net._generators["device"] for net in nets]) \
            if first.device_.type == "cuda" else None

    def gradients(self, batches: Sequence) -> list[dict]:
        """What train_step_single does for each net with its batch, at once."""
        sizes = {tuple(inputs["x"].shape) for inputs, _ in batches}
        if len(sizes) > 1 or next(iter(sizes))[0] < 2:
            return [net.train_step_single(batch) for net, batch in zip(self.nets, batches, strict=True)]
        for net in self.nets:
            net._set_training(True)
        if not self.module.training:
            self.module.train()
        tensors = [value for inputs, codes in batches
                   for value in (inputs["x"], codes, inputs.get("weights"), inputs.get("targets"))]
        if self.recorded is None or any(net._recordable is None for net in self.nets):
            found = self._gradients(*tensors)
        else:
            found = self.recorded([(net._recorded, net._recorded_state()) for net in self.nets], *tensors)
        found = iter(found)
        return [net._take(*islice(found, 2 + len(net._optimized()))) for net in self.nets]

    def _gradients(self, *tensors: Tensor | None) -> tuple:
        """What each net's _gradients returns for its pixels, codes, weights and targets, one after the other."""
        first = self.nets[0]
        x = torch.cat([x.to(first.device_).float() for x in tensors[::4]], 1)
        with first._autocast():
            logits = self.module(x.contiguous(memory_format=torch.channels_last)).float()
        parts = logits.chunk(len(self.nets), 1)
        losses = [net.get_loss(part, codes, X={"weights": weights, "targets": targets}, training=True)
                  for net, part, codes, weights, targets in zip(self.nets, parts, *(tensors[i::4] for i in (1, 2, 3)),
                                                                strict=True)]
        torch.stack(losses).sum().backward()
        for layer in self.module.modules():
            if isinstance(layer, Joined):
                layer.gradients()
        return tuple(value for net, part, loss in zip(self.nets, parts, losses, strict=True)
                     for value in (loss.detach(), part.detach(), *(p.grad for p in net._optimized())))

    def separate(self) -> None:
        """Give each net memory of its own again."""
        for net in self.nets:
            for value in (*net.module_.parameters(), *net.module_.buffers()):
                value.data = value.data.clone(memory_format=torch.preserve_format)


def train_together(fits: dict[Steps, Generator]) -> bool:
    """Run fits that yield batches and take their loss and logits; whether they were trained together.

    Nets that end sooner leave the group. Where the nets cannot be joined, they are trained in turn.
    """
    group, wanted = None, {}
    try:
        for net, fit in fits.items():
            _advance(net, fit, None, wanted)
        if not wanted:                              # all of them were read from kept files
            return True
        try:
            group = Group(list(wanted))
        except CannotJoin:
            for net in list(wanted):
                while net in wanted:
                    _advance(net, fits[net], net.train_step_single(wanted[net]), wanted)
            return False
        while wanted:
            if list(wanted) != group.nets:
                group.separate()
                group = Group(list(wanted))
            with group.nets[0]._enough_memory():
                results = group.gradients(list(wanted.values()))
            for net, result in zip(group.nets, results, strict=True):
                _advance(net, fits[net], result, wanted)
        return True
    finally:
        for fit in fits.values():
            fit.close()
        if group is not None:
            group.separate()


def _advance(net: Steps, fit: Generator, result: dict | None, wanted: dict) -> None:
    try:
        wanted[net] = fit.send(result)
    except StopIteration:
        wanted.pop(net, None)

"""Several networks of one architecture as one network of grouped convolutions, which trains them together."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from itertools import islice

import torch
from torch import Tensor

from fmnist_sk._network.criterion import batch_loss
from fmnist_sk._runtime.graphs import Recorded
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.precision import autocast
from fmnist_sk._training.fit import Fit
from fmnist_sk._training.joined import CannotJoin, Joined, join
from fmnist_sk._training.net import StepBatch
from fmnist_sk._training.passes import Pass
from fmnist_sk._training.phase import StopTraining


class Member:
    """A fit among others, and its current batch."""

    def __init__(self, fit: Fit):
        self.fit, self.net, self.steps = fit, fit.net, fit.steps
        self.batches = self._all_batches()
        self.batch: StepBatch | None = None

    def _all_batches(self) -> Generator[StepBatch, None, None]:
        with closing(self.fit.passes()) as passes:
            for batches in passes:
                with self.fit.may_stop():
                    self.training = Pass(self.net, training=True, prefix="train")
                    yield from self.training.over(batches)
                    self.training.finish()

    def advance(self) -> bool:
        """Move to the next batch; returns whether there is one."""
        try:
            self.batch = self.batches.throw(StopTraining()) if self.fit.stops else next(self.batches)
        except StopIteration:
            self.batch = None
        return self.batch is not None


class Group:
    """The gradients of several fits that are at the same point, computed at once.

    Raises CannotJoin.
    """

    def __init__(self, members: Sequence[Member]):
        for member in members:
            net, steps = member.net, member.steps
            if steps.own_hooks or net.triplet_weight or steps.generators.draws_globally(
                    net.module_, steps.network_shape):
                raise CannotJoin(f"{type(net).__name__} has its own kind of steps")
        self.members = list(members)
        fit, first = members[0].fit, members[0].net
        x = torch.rand(4, *members[0].steps.network_shape, generator=torch.Generator().manual_seed(0)).to(first.device_)
        pixel_range = fit.pixel_range
        try:
            self.module = join([member.net.module_ for member in members], pixel_range.low + pixel_range.span * x)
        except CannotJoin:
            self.separate()
            raise
        self.trained = self._which_are_trained()
        self.graph = Recorded(self._gradients, [member.fit.generators.draw for member in members]) \
            if first.device_.type == "cuda" else None

    def fits(self, running: Sequence[Member]) -> bool:
        """Whether these are its members, and nothing was frozen or unfrozen since it was created."""
        return self.members == running and self.trained == self._which_are_trained()

    def _which_are_trained(self) -> list[bool]:
        return [parameter.requires_grad for member in self.members for parameter in member.steps.optimized()]

    def step(self, batches: Sequence[StepBatch]) -> list[dict[str, Tensor]]:
        """Each net's step for its batch, up to the gradients."""
        for member in self.members:
            member.net.optimizer_.zero_grad()
        found = self.gradients(batches)
        if self.members[0].net.sam_rho:
            with ExitStack() as stack:
                for member in self.members:
                    stack.enter_context(member.steps.uphill())
                self.gradients(batches)
        return found

    def gradients(self, batches: Sequence[StepBatch]) -> list[dict[str, Tensor]]:
        """Each net's gradient_step for its batch."""
        sizes = {tuple(inputs["x"].shape) for inputs, _ in batches}
        if len(sizes) > 1 or next(iter(sizes))[0] < 2:
            return [member.steps.gradient_step(batch) for member, batch in zip(self.members, batches, strict=True)]
        for member in self.members:
            member.net._set_training(True)
        if not self.module.training:
            self.module.train()
        tensors = [value for inputs, codes in batches
                   for value in (inputs["x"], codes, inputs.get("weights"), inputs.get("targets"))]
        if self.graph is None or any(member.steps.graph_key is None for member in self.members):
            found = iter(self._gradients(*tensors))
        else:
            state = [(member.steps.graph, member.steps.graph_state()) for member in self.members]
            found = iter(self.graph(state, *tensors))
        return [member.steps.assign_gradients(*islice(found, 2 + len(member.steps.optimized())))
                for member in self.members]

    def _gradients(self, *tensors: Tensor | None) -> tuple:
        """Loss, logits and gradients of each net, for its pixels, codes, weights and targets, one after the other."""
        device = self.members[0].net.device_
        x = torch.cat([x.to(device).float() for x in tensors[::4] if x is not None], 1)
        with autocast(self.members[0].steps.dtype, device):
            logits = self.module(x.contiguous(memory_format=torch.channels_last)).float()
        parts = logits.chunk(len(self.members), 1)
        losses = [batch_loss(member.net.criterion_, part, codes, {"weights": weights, "targets": targets})
                  for member, part, codes, weights, targets in zip(self.members, parts,
                                                                   *(tensors[i::4] for i in (1, 2, 3)), strict=True)
                  if codes is not None]
        torch.stack(losses).sum().backward()
        for layer in self.module.modules():
            if isinstance(layer, Joined):
                layer.gradients()
        return tuple(value for member, part, loss in zip(self.members, parts, losses, strict=True)
                     for value in (loss.detach(), part.detach(), *(p.grad for p in member.steps.optimized())))

    def separate(self) -> None:
        """Give each net memory of its own again."""
        for member in self.members:
            for value in (*member.net.module_.parameters(), *member.net.module_.buffers()):
                value.data = value.data.clone(memory_format=torch.preserve_format)


def train_together(fits: Sequence[Fit]) -> bool:
    """Run fits whose nets take their steps at the same time; returns whether that was possible.

    Nets that finish earlier leave the group. If the nets cannot be joined, they are trained in turn.
    """
    members = [Member(fit) for fit in fits]
    group: Group | None = None
    with ExitStack() as stack:
        for member in members:
            stack.enter_context(closing(member.batches))
        running = [member for member in members if member.advance()]
        try:
            while running:
                if group is None or not group.fits(running):
                    if group is not None:
                        group.separate()
                    group = Group(running)
                batches = [member.batch for member in running if member.batch is not None]
                with enough_memory(running[0].net, max(len(codes) for _, codes in batches)), running[0].steps.watch:
                    steps = group.step(batches)
                for member, batch, step in zip(running, batches, steps, strict=True):
                    with member.fit.may_stop():
                        member.steps.update(batch)
                        member.training.add(batch, step)
                running = [member for member in running if member.advance()]
        except CannotJoin:
            for member in running:
                while member.batch is not None:
                    with member.fit.may_stop():
                        member.training.add(member.batch, member.steps.step(member.batch))
                    member.advance()
            return False
        finally:
            if group is not None:
                group.separate()
    return True

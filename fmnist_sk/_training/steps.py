"""One step of training: the loss of a batch, its gradients, changes to them, and the optimizer."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fmnist_sk._network.criterion import batch_loss
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.tracing import Hooks, trace_layers
from fmnist_sk._runtime.graphs import Recorded, is_own_code
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.precision import compute_dtype
from fmnist_sk._training.hooks import BATCH_HOOKS, for_callbacks, is_examined, is_hooked, may_read_batches
from fmnist_sk._training.net import Net, StepBatch
from fmnist_sk._training.watch import Watch
from fmnist_sk.augmentation import Augmentation
from fmnist_sk.losses import TripletLoss


class StepRunner:
    """Computes the steps of a net, with its current module, criterion and optimizer.

    generators : the network's sources of random numbers
    network_shape : (channels, height, width) of the network's input
    find_hooks : returns those of skorch's hooks of a step ("train_step", "get_loss", ...) that are the net's own code;
        asked in every epoch. These are called; the work of the others is done here.
    """

    def __init__(self, net: Net, generators: Generators, network_shape: tuple[int, int, int],
                 find_hooks: Callable[[], Collection[str]]):
        self.net, self.generators, self.find_hooks = net, generators, find_hooks
        self.network_shape = network_shape
        # SkorchDoctor turns layer outputs into arrays, and NumPy has no bfloat16.
        self.dtype = compute_dtype("fp32" if is_examined(net) else net.precision, net.device_)
        self._look_for_hooks()
        self._last_layer = self._find_last_layer() if net.triplet_weight else None
        self.watch: AbstractContextManager = contextlib.nullcontext() if net.device_.type != "cpu" else \
            Watch(may_change=net.n_threads is None and net.random_state is None)
        self.graph: Recorded | None = None              # on CUDA
        self.graph_key: tuple | None = None             # what this epoch's steps depend on besides batches

    def _look_for_hooks(self) -> None:
        net, own = self.net, self.find_hooks()
        self.own_hooks = own
        self.step = net.train_step if "train_step" in own else self.default_step
        self.evaluate = net.validation_step if "validation_step" in own else self.default_evaluate
        self._gradient_step = net.train_step_single if "train_step_single" in own else self.gradient_step
        self._own_loss: Callable[..., Tensor] | None = net.get_loss if "get_loss" in own else None
        self._is_hooked = is_hooked(net, "on_grad_computed")

    # ------------------------------------------------------------------ a step

    def default_step(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]:
        """One step of the optimizer: {"loss": mean loss of the batch, "y_pred": its logits (n, n_classes)}."""
        with enough_memory(self.net, len(batch[1])):
            with self.watch:
                self.net.optimizer_.zero_grad()
                step = self._gradient_step(batch, **fit_params)
                if self.net.sam_rho:
                    with self.uphill():
                        self._gradient_step(batch, **fit_params)
            self.update(batch)
            return step

    def gradient_step(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]:
        """Loss and logits of a batch; the parameters get their gradients."""
        self.net._set_training(True)
        inputs, codes = batch
        tensors = inputs["x"], codes, inputs.get("weights"), inputs.get("targets")
        if self.graph is None or self.graph_key is None:
            return self.assign_gradients(*self._gradients(*tensors, inputs.get("mixed")))
        return self.assign_gradients(*self.graph(self.graph_state(), *tensors))

    def update(self, batch: StepBatch) -> None:
        """Everything after the gradients: clipping, hooks, the optimizer."""
        net = self.net
        if net.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._trained(), net.gradient_clip)
        if self._is_hooked:
            net.notify("on_grad_computed", named_parameters=list(net.get_all_learnable_params()),
                       batch=for_callbacks(net.classes_, batch), training=True)
        try:
            net.optimizer_.step()
        except (RuntimeError, TypeError) as error:
            if isinstance(net.optimizer, str) and isinstance(error, RuntimeError):
                raise
            given = net.get_params_for("optimizer")
            raise ValueError(f"optimizer must be able to train this network, got {net.optimizer!r} with {given}, "
                             f"which fails: {str(error).partition(chr(10))[0]}") from error

    def default_evaluate(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]:
        """Loss and logits of a batch of validation images."""
        inputs, codes = batch
        self.net._set_training(False)
        with torch.no_grad(), enough_memory(self.net, len(inputs["x"])):
            logits = self.net.infer(inputs)
            loss = batch_loss(self.net.criterion_, logits, codes, inputs) if self._own_loss is None else \
                self._own_loss(logits, codes, X=inputs, training=False)
            return {"loss": loss, "y_pred": logits}

    # ------------------------------------------------------------------ gradients

    def _gradients(self, x: Tensor, codes: Tensor, weights: Tensor | None, targets: Tensor | None,
                   mixed: Tensor | None = None) -> tuple:
        """Loss, logits and the gradients of what the optimizer trains."""
        inputs = {"x": x, "weights": weights, "targets": targets}
        network = self.net.module_.network
        layers = {"last": network.get_submodule(self._last_layer)} if self._last_layer else {}
        try:
            with Hooks(layers) as seen:
                logits = self.net.infer(inputs)
        except ValueError as error:
            if len(codes) > 1 or "more than 1 value per channel" not in str(error):
                raise
            advice = "raise batch_size" if self.net.batch_size == 1 else "train on more images"
            raise ValueError("Batch normalisation needs at least two images in a batch, got one with "
                             f"batch_size={self.net.batch_size}: {advice}.") from error
        loss = batch_loss(self.net.criterion_, logits, codes, inputs) if self._own_loss is None else \
            self._own_loss(logits, codes, X=inputs, training=True)
        if seen and (features := seen["last"][0]) is not None:
            loss = loss + self._triplet_term(features, codes, weights, mixed)
        if not loss.requires_grad:
            raise ValueError("module must return logits that depend on its parameters, got some without a gradient, as "
                             "after detach(), item() or numpy(), or within torch.no_grad().")
        loss.backward()
        return loss.detach(), logits.detach(), *(parameter.grad for parameter in self.optimized())

    def assign_gradients(self, loss: Tensor, logits: Tensor, *gradients: Tensor | None) -> dict[str, Tensor]:
        for parameter, gradient in zip(self.optimized(), gradients, strict=True):
            parameter.grad = gradient
        return {"loss": loss, "y_pred": logits}

    def optimized(self) -> list[nn.Parameter]:
        """What the optimizer trains."""
        return [p for group in self.net.optimizer_.param_groups for p in group["params"]]

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.optimized() if p.grad is not None]

    @contextlib.contextmanager
    def uphill(self) -> Iterator[None]:
        """Context in which the weights are moved by `sam_rho` along the gradient, towards the largest loss nearby.

        Foret et al., 2021, https://arxiv.org/abs/2010.01412. Batch normalisation learns from the first pass only.
        """
        parameters: list[Tensor] = list(self._trained())
        gradients = [p.grad for p in parameters if p.grad is not None]
        before = [p.detach().clone() for p in parameters]
        try:
            with torch.no_grad():
                length = nn.utils.get_total_norm(gradients)
                steps = torch._foreach_mul(gradients, self.net.sam_rho / (length + 1e-12))
                torch._foreach_add_(parameters, list(steps))
            self.net.optimizer_.zero_grad()
            with _kept_statistics(self.net.module_):
                yield
        finally:                                # also after Ctrl-C
            with torch.no_grad():
                torch._foreach_copy_(parameters, before)

    # ------------------------------------------------------------------ the triplet term

    def _find_last_layer(self) -> str:
        """The layer that takes in the penultimate features."""
        network = self.net.module_.network
        layers = {name: layer for name, layer in network.named_modules()
                  if any(True for _ in layer.parameters()) and not any(True for _ in layer.children())}
        seen = trace_layers(self.net.module_, layers, self.network_shape)
        if not seen:
            raise ValueError("triplet_weight needs a network whose last layer is a module with parameters, got "
                             f"triplet_weight={self.net.triplet_weight}.")
        return list(seen)[-1]

    def _triplet_term(self, features: Tensor, codes: Tensor, weights: Tensor | None, mixed: Tensor | None) -> Tensor:
        losses = TripletLoss(self.net.triplet_margin)(features, codes, None if mixed is None else ~mixed)
        return self.net.triplet_weight * (losses if weights is None else losses * weights).mean()

    # ------------------------------------------------------------------ CUDA graphs

    def begin_phase(self) -> None:
        """Discard recordings: different images, layers or parameters are trained from now on."""
        self.graph = self.graph_key = None

    def begin_epoch(self, batches: Iterable) -> None:
        """Find the hooks that take part in steps. On CUDA, record the steps, or continue with the previous recordings.
        """
        self._look_for_hooks()
        if self.net.device_.type != "cuda":
            return
        if self.graph is None or may_read_batches(self.net):     # other code may change anything between epochs
            self.graph = Recorded(self._gradients, [self.generators.draw])
            augmentation = getattr(batches, "transform", None)
            if isinstance(augmentation, Augmentation) and not is_hooked(self.net, *BATCH_HOOKS):
                augmentation.record()
        self.graph_key = self._graph_key()

    def _graph_key(self) -> tuple | None:
        """What steps depend on besides their batches, or None if they might differ from a recording of them.

        Third-party code in modules, losses and hooks may decide in Python what to do.
        """
        net = self.net
        has_hooks = any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
                        for layer in net.module_.modules())
        if (self.own_hooks or has_hooks or self.generators.draws_globally(net.module_, self.network_shape)
                or net.sam_rho or net.triplet_weight or not isinstance(net.criterion, str)
                or not is_own_code(net.module) or is_hooked(net, *BATCH_HOOKS)):
            return None
        return net.module_, net.criterion_, [parameter.requires_grad for parameter in self.optimized()]

    def graph_state(self) -> tuple:
        """The state for which a recording is valid."""
        return self.graph_key, [parameter.data_ptr() for parameter in self.optimized()]


@contextlib.contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Context in which batch normalisation uses a batch's statistics, but does not learn from them."""
    norms = [(layer, layer.momentum, layer.num_batches_tracked) for layer in module.modules()
             if isinstance(layer, _BatchNorm)]
    for layer, _, n_batches in norms:
        layer.momentum = 0.0
        layer.num_batches_tracked = None if n_batches is None else n_batches.clone()
    try:
        yield
    finally:
        for layer, momentum, n_batches in norms:
            layer.momentum, layer.num_batches_tracked = momentum, n_batches

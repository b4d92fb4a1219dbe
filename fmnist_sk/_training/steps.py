"""One step of training: the loss of a batch, its gradients, what is done to them, and the optimizer."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fmnist_sk._data.images import Images
from fmnist_sk._estimator.skorch import SkorchNet
from fmnist_sk._network.layers import Whitening
from fmnist_sk._network.tracing import Hooks, trial
from fmnist_sk._runtime.graphs import Recorded, is_ours
from fmnist_sk.augmentation import Augmentation
from fmnist_sk.losses import Loss, TripletLoss

BATCH_HOOKS = "on_batch_begin", "on_batch_end", "on_grad_computed"


class Steps(SkorchNet):
    """What happens to one batch in training and in validation."""

    _recorded: Recorded | None = None       # on CUDA, and during a fit
    _recordable: tuple | None = None        # what is recorded in this epoch

    def _autocast(self):
        if self._compute_dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_.type, self._compute_dtype)

    @property
    def _compute_dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.bfloat16 if has_fast_bf16(self.device_) else torch.float32
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[self.precision]

    def _whiten(self, images: Images) -> None:
        """Let a whitening first layer learn from training images."""
        layers = {name: layer for name, layer in self.module_.named_modules() if isinstance(layer, Whitening)}
        if layers:
            # Of 1,000 images, in no order that means anything.
            with torch.no_grad(), Hooks(layers) as seen, self._enough_memory(for_batch=False):
                self.infer(images.batch(slice(0, 1000))[0])
            for name, (taken, _) in seen.items():
                layers[name].learn(taken)

    # ------------------------------------------------------------------ losses

    def get_loss(self, y_pred, y_true, X=None, training=False) -> Tensor:
        """Mean loss of logits (n, n_classes): of soft targets where images were mixed, and weighted with weights."""
        inputs = X if isinstance(X, Mapping) else {}
        weights, targets = inputs.get("weights"), inputs.get("targets")
        criterion = self.criterion_
        if weights is not None and not hasattr(criterion, "reduction"):
            raise ValueError("criterion must have an attribute `reduction`, as PyTorch's losses have, for training "
                             f"with sample_weight or class_weight, got {criterion!r}.")
        criterion.reduction = "mean" if weights is None else "none"
        try:
            loss = criterion(y_pred, y_true if targets is None else targets)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            if isinstance(criterion, Loss):
                raise
            what = "class codes (n,)" if targets is None else \
                "the shares of the classes (n, n_classes), because images were mixed"
            raise ValueError(f"criterion must take logits (n, n_classes) and {what}, but {criterion!r} fails: "
                             f"{error}") from error
        expected = () if weights is None else (len(y_pred),)
        if not isinstance(loss, Tensor) or loss.shape != expected:
            raise ValueError(f"criterion must return a tensor of shape {expected} with reduction="
                             f"{criterion.reduction!r}, got {tuple(getattr(loss, 'shape', (type(loss).__name__,)))}.")
        return loss if weights is None else (loss * weights).mean()

    def _find_features(self) -> None:
        """Which layer of the network takes in the penultimate features, where a triplet term needs them."""
        self._last_layer = None
        if self.triplet_weight:
            layers = {name: layer for name, layer in self.module_.network.named_modules()
                      if any(True for _ in layer.parameters()) and not any(True for _ in layer.children())}
            seen = trial(self.module_, layers, self._network_shape)
            if not seen:
                raise ValueError("triplet_weight needs a network whose last layer is a module with parameters, got "
                                 f"triplet_weight={self.triplet_weight}.")
            self._last_layer = list(seen)[-1]

    def _triplet_term(self, features: Tensor, codes: Tensor, inputs: dict) -> Tensor:
        targets, weights = inputs.get("targets"), inputs["weights"]
        whole = None if targets is None else targets.amax(1) == 1          # images of one class
        losses = TripletLoss(self.triplet_margin)(features, codes, whole)
        return self.triplet_weight * (losses if weights is None else losses * weights).mean()

    # ------------------------------------------------------------------ steps

    def train_step_single(self, batch, **fit_params):
        """Loss and gradients of one batch."""
        self._set_training(True)
        inputs, codes = batch
        tensors = inputs["x"], codes, inputs.get("weights"), inputs.get("targets")
        if self._recorded is None or self._recordable is None:
            return self._take(*self._gradients(*tensors))
        return self._take(*self._recorded(self._recorded_state(), *tensors))

    def _take(self, loss: Tensor, logits: Tensor, *gradients: Tensor | None) -> dict:
        for parameter, gradient in zip(self._optimized(), gradients, strict=True):
            parameter.grad = gradient
        return {"loss": loss, "y_pred": logits}

    def _gradients(self, x: Tensor, codes: Tensor, weights: Tensor | None, targets: Tensor | None) -> tuple:
        """Loss, logits and the gradients of what the optimizer trains."""
        inputs = {"x": x, "weights": weights, "targets": targets}
        layers = {"last": self.module_.network.get_submodule(self._last_layer)} if self._last_layer else {}
        try:
            with Hooks(layers) as seen:
                logits = self.infer(inputs)
        except ValueError as error:
            if len(codes) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise ValueError("Batch normalisation needs at least two images in a batch: raise batch_size "
                             f"(batch_size={self.batch_size}), or train on more images.") from error
        loss = self.get_loss(logits, codes, X=inputs, training=True)
        if seen:
            loss = loss + self._triplet_term(seen["last"][0], codes, inputs)
        loss.backward()
        return loss.detach(), logits.detach(), *(parameter.grad for parameter in self._optimized())

    def _record_steps(self, batches: Iterable) -> None:
        """Record what the steps of an epoch do, or go on with the recordings of the epoch before."""
        has_others = not all(is_ours(callback) or type(callback).__module__.startswith("skorch.")
                             for _, callback in self.callbacks_)
        if self._recorded is None or has_others:        # others' callbacks may change anything between epochs
            self._recorded = Recorded(self._gradients, [self._generators["device"]])
            augmentation = getattr(batches, "transform", None)
            if isinstance(augmentation, Augmentation) and not self._has_hook(*BATCH_HOOKS):
                augmentation.record()
        self._recordable = self._what_is_recorded()

    def _what_is_recorded(self) -> tuple | None:
        """What steps depend on besides their batches, or None where they may do other things than a recording of them.

        That is so where others' code runs within them: modules, losses and hooks, which may decide in Python.
        """
        of_others = [name for name in ("infer", "get_loss", "train_step", "train_step_single")
                     if getattr(type(self), name) is not getattr(Steps, name)]
        hooks = any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
                    for layer in self.module_.modules())
        if (of_others or hooks or self._draws or self.sam_rho or self.triplet_weight
                or not isinstance(self.criterion, str) or not is_ours(self.module)
                or self._has_hook(*BATCH_HOOKS)):
            return None
        return self.module_, self.criterion_, [parameter.requires_grad for parameter in self._optimized()]

    def _recorded_state(self) -> tuple:
        return self._recordable, [parameter.data_ptr() for parameter in self._optimized()]

    def train_step(self, batch, **fit_params):
        """One step of the optimizer."""
        with self._enough_memory():
            return drive(self._step(batch), self.train_step_single)

    def _step(self, batch) -> Generator:
        """A step that yields batches whose gradients it needs, so that those of several networks come together."""
        self.optimizer_.zero_grad()
        step = yield batch
        if self.sam_rho:
            yield from self._sharpness_aware_gradients(batch)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._trained(), self.gradient_clip)
        if self._has_hook("on_grad_computed"):
            self.notify("on_grad_computed", named_parameters=list(self.get_all_learnable_params()), batch=batch,
                        training=True)
        try:
            self.optimizer_.step()
        except (RuntimeError, TypeError) as error:
            if isinstance(self.optimizer, str) and isinstance(error, RuntimeError):
                raise
            given = self.get_params_for("optimizer")
            raise ValueError(f"optimizer must be able to train this network, got {self.optimizer!r} with {given}, "
                             f"which fails: {str(error).partition(chr(10))[0]}") from error
        return step

    def _optimized(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer_.param_groups for p in group["params"]]

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self._optimized() if p.grad is not None]

    def _sharpness_aware_gradients(self, batch) -> Generator:
        """Gradients of the same batch at the point of the largest loss nearby, `sam_rho` up the slope.

        Foret et al., 2021, https://arxiv.org/abs/2010.01412. Batch normalisation learns from the first pass only.
        """
        parameters = self._trained()
        gradients = [p.grad for p in parameters]
        before = [p.detach().clone() for p in parameters]
        try:
            with torch.no_grad():
                length = nn.utils.get_total_norm(gradients)
                torch._foreach_add_(parameters, torch._foreach_mul(gradients, self.sam_rho / (length + 1e-12)))
            self.optimizer_.zero_grad()
            with _kept_statistics(self.module_):
                yield batch
        finally:                                # whatever happens up there, such as Ctrl-C
            with torch.no_grad():
                torch._foreach_copy_(parameters, before)

    def _has_hook(self, *names: str) -> bool:
        return any(getattr(type(callback), name) is not getattr(Callback, name)
                   for _, callback in self.callbacks_ for name in names)


def drive(steps: Generator, compute: Callable):
    """Run a generator that yields what it wants computed; what it returns."""
    try:
        wanted = next(steps)
        while True:
            try:
                result = compute(wanted)
            except BaseException as error:          # it may have something to restore
                wanted = steps.throw(error)
            else:
                wanted = steps.send(result)
    except StopIteration as end:
        return end.value


@contextlib.contextmanager
def _kept_statistics(module: nn.Module):
    """Within this context batch normalisation uses a batch's statistics, but does not learn from them."""
    norms = [(layer, layer.momentum) for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer, _ in norms:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in norms:
            layer.momentum = momentum


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices (AVX512-BF16, AMX, CUDA from Ampere)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())

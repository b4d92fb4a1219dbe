"""Preparation before the first step of a fit, and clean-up after the last one."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from fmnist_sk._data.checks import check_weights
from fmnist_sk._data.encoder import (
    Checked,
    ImageEncoder,
    checked_images,
    encode,
    learn_classes,
    learn_image_shape,
)
from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.statistics import content_hashes
from fmnist_sk._estimator.parts import network_builder
from fmnist_sk._estimator.skorch import SkorchNet, own_hooks
from fmnist_sk._estimator.teacher import Teacher
from fmnist_sk._network.build import become, ends_in_softmax
from fmnist_sk._network.criterion import probabilities_of
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.layers import Whitening, in_memory_format
from fmnist_sk._network.random import new_seed
from fmnist_sk._network.rows import MIN_ROWS
from fmnist_sk._network.tracing import Hooks
from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.warn import warn
from fmnist_sk._storage.fingerprint import fingerprint
from fmnist_sk._storage.fit_file import FitFile
from fmnist_sk._training.averages import learning_parts
from fmnist_sk._training.fit import Fit
from fmnist_sk._training.passes import not_finite
from fmnist_sk._training.schedule import Schedule
from fmnist_sk._training.steps import StepRunner
from fmnist_sk.losses import CrossEntropy, FocalLoss, SigmoidLoss
from fmnist_sk.schedules import as_schedule

MAX_PADDED_SIDE = 256       # flat rows are padded to a network's smallest image up to this size
ADDS_SOFTMAX = CrossEntropy, FocalLoss, SigmoidLoss, nn.CrossEntropyLoss, nn.NLLLoss


@dataclass(frozen=True)
class Plan:
    """How a fit proceeds.

    restart : whether to start with a new network rather than the existing one
    epochs : number to train for now, of those `planned` for the schedule
    schedule : schedule of the learning rate
    checkpoint : folder of checkpoints, or None
    classes : labels that the user names, or None for those that occur
    """

    restart: bool
    epochs: int
    planned: int
    schedule: Schedule
    checkpoint: Any = None
    classes: ArrayLike | None = None


def plan_of(net: SkorchNet) -> Plan:
    """The plan of `fit`."""
    return Plan(not (net.warm_start and net.initialized_), net.max_epochs, net.schedule_epochs or net.max_epochs,
                as_schedule(net.schedule), net.checkpoint)


@contextmanager
def fitting(net: SkorchNet, X, y, sample_weight, plan: Plan, task=None) -> Iterator[Fit]:
    """Context in which everything is ready for a fit, which its body runs.

    task : scikit-learn's callback context of this fit, or None
    """
    net.check_training_readiness()
    if plan.restart:
        _forget(net)                # so that a failed fit leaves nothing old to predict with
    images, is_first, teacher = _prepare_data(net, X, y, sample_weight, plan)
    file = None if plan.checkpoint is None else FitFile(
        plan.checkpoint, _fingerprint(net, images, plan.restart, teacher),
        None if net.schedule_epochs is None else plan.epochs, net.keep_checkpoint)
    if net.verbose and file is not None and file.content is None and file.n_others:
        print(f"{file.path.parent}: no checkpoint of this fit, only of fits with other data or parameters "
              f"({file.n_others}); this fit starts over")
    _prepare_network(net, images, plan.restart, is_first, file)
    try:
        net._fit = Fit(net, images, epochs=plan.epochs, planned=plan.planned, schedule=plan.schedule,
                       steps=StepRunner(net, net._generators, net._encoder.network_shape, lambda: own_hooks(net)),
                       generators=net._generators,
                       pixel_range=net._encoder.pixel_range, file=file, teacher=teacher,
                       task=None if task is None else (task, X, y))
        try:
            net.notify("on_train_begin", X=X, y=y)
            yield net._fit
        finally:
            net._set_training(False)
            del net._fit
        _check_last_step(net, images)
        net.notify("on_train_end", X=X, y=y)
        if file is not None:
            file.finish()
    except BaseException:
        if plan.restart and not net.history:        # it failed before the first epoch
            _forget(net)
        raise
    finally:
        if net.initialized_ and net.history and "train_loss" not in net.history[-1]:       # an unfinished epoch
            del net.history_[-1]


def _forget(net: SkorchNet) -> None:
    net.initialized_ = False
    for name in ("module_", "optimizer_", "history_", "best_epoch_", "_encoder", "_generators"):
        net.__dict__.pop(name, None)


def _prepare_data(net: SkorchNet, X, y, sample_weight, plan: Plan) -> tuple[LabelledImages, bool, Teacher | None]:
    """Images to train on, whether they are the first ones, from which statistics were learned, and the teacher."""
    learns = plan.restart or not _has_seen_data(net)
    checked = checked_images(net, X, y, shape=None if learns else net.image_shape_)
    labels = encode(y, len(checked))
    weights = check_weights(sample_weight, len(checked))
    classes = learn_classes(labels[0], plan.classes, None if learns else net.classes_)
    if learns:
        image_shape, is_given = learn_image_shape(checked, net.image_shape, net._minimum_size())
        encoder = ImageEncoder(type(net).__name__, classes, image_shape, net._minimum_size(),
                               choose_device(net.device, checked))
        _check_size(net, encoder, checked, is_given)
        if not plan.restart:
            _rebuild(net, encoder)
        net._encoder = encoder
    encoder = net._encoder
    is_first = encoder.pixels is None
    names_classes = plan.classes is not None or not plan.restart
    images = encoder.training_images(checked, labels, weights, net.class_weight, names_classes=names_classes)
    if is_first:
        mean, std = net._pixel_statistics(images)
        encoder.mean, encoder.std = tuple(mean.tolist()), tuple(std.tolist())
    teacher = None if net.teacher is None else Teacher(net.teacher, net.teacher_weight, encoder, images,
                                                        tuple(checked.shape))
    return images, is_first, teacher


def _has_seen_data(net: SkorchNet) -> bool:
    """Whether the network was built for actual data or has loaded weights, rather than built for assumed images."""
    if net._encoder.pixels is not None or len(net.history):
        return True
    as_new = network_builder(net, net._encoder).build(net._generators.seed).state_dict()
    now = net.module_.state_dict()
    return now.keys() != as_new.keys() or not all(torch.equal(now[name].cpu(), as_new[name]) for name in now)


def _rebuild(net: SkorchNet, encoder: ImageEncoder) -> None:
    """Rebuild the network for the actual data: in place, because skorch's SkorchDoctor has hooks on it."""
    module = network_builder(net, encoder).build(net._generators.seed)
    encoder.device = net.device_
    net._encoder = encoder
    net._generators.attach(module)
    net._generators.draws_globally(module, encoder.network_shape)
    if not become(net.module_, in_memory_format(module.to(encoder.device), module.memory_format)):
        net._install(module, is_new=True)
        net._initialize_optimizer()


def _check_size(net: SkorchNet, encoder: ImageEncoder, X: Checked, is_given: bool) -> None:
    """Raise ValueError for images that are too small for the network; rows of values are padded, with a warning."""
    side, (_, height, width) = encoder.smallest_side, encoder.image_shape
    if min(height, width) >= side:
        return
    if is_given or side > MAX_PADDED_SIDE:
        reason = network_builder(net, encoder).why_too_small(encoder.image_shape)
        raise ValueError(f"{encoder.owner} needs images of at least {side} x {side} pixels, got "
                         f"{height} x {width}{reason}")
    warn(f"X has rows of {X.shape[1]} values, which are padded to {side} x {side}, the smallest images that "
         f"{encoder.owner} accepts. If they are images, they are too small for it: enlarge them, or use a "
         "network with fewer poolings and strides.")


def _prepare_network(net: SkorchNet, images: LabelledImages, restart: bool, is_first: bool,
                     file: FitFile | None) -> None:
    if not restart:
        if is_first and hasattr(net.module_, "standardize"):
            net.module_.standardize.learn(torch.tensor(net._encoder.mean), torch.tensor(net._encoder.std))
        if is_first:
            _whiten(net, images)
        if not any(True for _ in net.criterion_.parameters()):
            net.initialize_criterion()             # it may have been changed
        return
    seed = new_seed(net.random_state)
    if file is not None and file.content is not None:
        seed = file.content["seed"]
    net._generators = Generators(seed, net.device_)
    net.initialize()
    _whiten(net, images)
    if isinstance(net.criterion_, ADDS_SOFTMAX) and ends_in_softmax(net.module_, net._encoder.network_shape):
        warn("module must return logits, but it returns probabilities, as if it ended in a softmax: "
             f"{type(net.criterion_).__name__} applies its own, so the network hardly learns. Leave the "
             "softmax out.")


def _whiten(net: SkorchNet, images: LabelledImages) -> None:
    """Let a whitening first layer learn from training images."""
    layers = {name: layer for name, layer in net.module_.named_modules() if isinstance(layer, Whitening)}
    if layers:
        # From 1,000 images, in an arbitrary order.
        net._set_training(False)
        with torch.no_grad(), Hooks(dict(layers)) as seen, enough_memory(net):
            net.infer(images.batch(slice(0, 1000))[0])
        for name, (given, _) in seen.items():
            if given is not None:
                layers[name].learn(given)


def _check_last_step(net: SkorchNet, images: LabelledImages) -> None:
    """Raise ValueError if logits are not finite after the last step; that step's own loss was computed before it.

    With validation images, their loss has already shown it.
    """
    if len(net.history) and "valid_loss" not in net.history[-1]:
        first = images.take(torch.arange(min(len(images), MIN_ROWS), device=net.device_))
        logits = torch.cat(list(net.forward_iter(first, device=None)))
        if not torch.isfinite(probabilities_of(net.criterion_, logits)).all():
            raise not_finite(net, "network's outputs became infinite or NaN")


def _fingerprint(net: SkorchNet, images: LabelledImages, restart: bool, teacher: Teacher | None) -> str:
    """A hash that distinguishes this fit from others: settings, data, and the network that it continues with."""
    ignored = {"checkpoint", "checkpoint_every", "device", "keep_checkpoint", "n_threads", "teacher", "tta",
               "tta_below", "verbose", "warm_start", *([] if net.schedule_epochs is None else ["max_epochs"]),
               *([] if net.keep_checkpoint else ["callbacks"])}
    params = {**BaseEstimator.get_params(net, deep=False), **net._prefixed_params()}
    rows, weights = images.rows, images.weights
    before: tuple[Any, ...] | None = None
    if not restart:
        states: dict[str, Tensor] = net._generators.state_dict()
        before = (learning_parts(net).state_dict(), net.optimizer_.state_dict(), len(net.history), states["shuffle"],
                  states["device"])
    return fingerprint(
        type(net), {name: value for name, value in params.items() if name not in ignored}, net.device_.type,
        net.image_shape_, net.classes_, content_hashes(images.pixels, images.codes)[rows],
        None if weights is None else weights[rows], before, None if teacher is None else teacher.identity)

"""ImageClassifier: any PyTorch network as a scikit-learn classifier of images."""
from __future__ import annotations

import inspect
import math
import os
from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any, Self, dataclass_transform

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.callback import with_callbacks
from sklearn.utils import check_random_state
from torch import Tensor

from fmnist_sk._data.encoder import ImageData
from fmnist_sk._data.images import Images
from fmnist_sk._data.shapes import check_image_shape
from fmnist_sk._data.statistics import content_hashes, pixel_statistics, value_range
from fmnist_sk._estimator.constraints import Parameters
from fmnist_sk._network.views import views
from fmnist_sk._runtime.cpu import use_cpu
from fmnist_sk._runtime.graphs import is_ours
from fmnist_sk._storage.fit_file import FitFile, fingerprint
from fmnist_sk._storage.onnx import Exports
from fmnist_sk._training.fit import Trainer
from fmnist_sk._training.schedule import Schedule
from fmnist_sk.losses import check_probabilities
from fmnist_sk.schedules import Constant, as_schedule
from fmnist_sk.shared import SharedImages


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(kw_only=True, eq=False, repr=False)
class ImageClassifier(Parameters, ImageData, Exports, Trainer):
    """A neural network for small images that is a scikit-learn classifier and a skorch net.

    Images X may be (n, features), (n, H, W) or (n, C, H, W): arrays, DataFrames or tensors on any device, uint8 or
    float, raw or scaled. Labels y may be whatever scikit-learn takes for labels. Predictions are NumPy arrays; with
    scikit-learn's ``array_api_dispatch`` and a tensor X they are tensors on X's device.

    Parameters
    ----------
    module : nn.Module class or instance
        The network: pixels (n, C, H, W) float32 in, logits (n, n_classes) out. Of a class, those of `in_channels`,
        `n_classes` and `image_shape` (C, H, W) that its ``__init__`` names are passed, and whatever is set as
        ``module__*``. An instance is copied, so that each fit begins with its weights.
    image_shape : (H, W) or (C, H, W), optional
        How flat rows form an image. Default: the square they fill; rows that fill no square are padded with zeros.
    standardize : bool or "min_max"
        The network's first layer subtracts the mean and divides by the standard deviation of the training pixels,
        one for each channel, so that raw bytes need no preparation. "min_max" maps the smallest training pixel to 0 and
        the largest to 1 instead.
    lr : float
        Learning rate; with `schedule` its largest value.
    max_epochs : int
        Passes over the training images in a fit.
    batch_size : int
        Images in a step. On CUDA validation and prediction take four times as many at once.
    optimizer : {"sgd", "adam", "adamw", "rmsprop", "asgd"} or torch optimizer class
        Its other settings are ``optimizer__*``, as in skorch.
    momentum : float
        Nesterov momentum of "sgd"; other optimizers do not use it.
    weight_decay : float
        On weights; on biases and normalisation only with `decay_biases`.
    decay_biases : bool
    gradient_clip : float or None
        Largest Euclidean length of the gradient of all parameters together.
    sam_rho : float
        Above 0, every step uses the gradient at the point of the largest loss within this distance: sharpness-aware
        minimisation (Foret et al., 2021, https://arxiv.org/abs/2010.01412), with any optimizer, in twice the time.
    schedule : {"constant", "multi_step", "exponential", "reduce_on_plateau", "cosine", "one_cycle"}, schedule or class
        Learning rate over a fit: a name, an object from `fmnist_sk.schedules` such as ``Cosine(warmup=0.1)``, or a
        class of torch.optim.lr_scheduler.
    schedule_epochs : int or None
        Epochs that schedule and `swa` are planned for, from `max_epochs` on; None: `max_epochs`. A fit of fewer ends
        early, where the whole one would be at that time: what a halving search with the resource `max_epochs` needs.
    criterion : {"cross_entropy", "focal", "sigmoid", "mse"}, nn.Module class or instance
        The loss, see `fmnist_sk.losses`. Its settings are ``criterion__*`` (in grids and by `set_params`, as in
        skorch). A module takes logits (n, n_classes) and codes (n,), with MixUp or CutMix shares (n, n_classes), and
        has an attribute `reduction`, which training sets. Probabilities are what its method `probabilities` makes of
        logits, else their softmax.
    label_smoothing : float
        Share of every target, from 0 to below 1, that is spread over all classes (Szegedy et al., 2016,
        https://arxiv.org/abs/1512.00567), for the named losses and classes that take it; an instance keeps its own.
    triplet_weight : float
        Factor of a triplet term on what the last layer takes in, see `fmnist_sk.losses.TripletLoss`; 0 for none. It is
        part of train_loss, not of valid_loss.
    triplet_margin : float
        By which distances within and between classes should differ, from 0 to 2.
    augment : name of a preset, random transformer, list or Pipeline of them, or None
        Drawn afresh for every image of every batch, in training only. Presets, see `fmnist_sk.augmentation`: "light"
        shifts by up to one pixel, "fashion" also mirrors, "strong", "report_1", "report_2", "report_3".
    ema : float or None
        Validate and predict with an exponential moving average of the weights that keeps this share of itself in
        every step, such as 0.999, and in the n-th step at most ``n / (9 + n)``, so that the start is soon forgotten.
        Further training starts from the average.
    swa : float or None
        From this share of a fit on, validate and predict with the mean of the weights after each epoch: stochastic
        weight averaging (Izmailov et al., 2018, https://arxiv.org/abs/1803.05407). Needs a schedule that does not end
        near zero. Networks with batch normalisation then pass over the training images once more in each epoch, for the
        statistics of the average.
    tta : None, "mirror", "shift" or a pair of them
        Test-time augmentation: probabilities are means over each image and its mirror image, or itself and shifts by a
        pixel in four directions, or both (10 views). In predictions, not in validation.
    class_weight : dict, "balanced", "report_3" or None
        Factors of the loss for each label; "balanced" makes all classes of the given images weigh the same; "report_3"
        is 2 for Fashion-MNIST's T-shirt, pullover, coat and shirt.
    validation_fraction : float, int or None
        Hold out this share (0 to 1) or number of the distinct training images, in the proportions of the classes.
        Copies of an image stay on one side. valid_loss is the loss of training: with smoothing, weights and all.
    validation_data : (X, y) or None
        Or validate on these.
    monitor : {"valid_acc", "valid_loss"}
        The score by which an epoch is the best.
    keep_best : bool
        With validation images, end with the weights of the best epoch.
    early_stopping : bool
        Stop when the best epoch is `patience` epochs ago. Needs validation images.
    patience : int
    warm_start : bool
        A further fit trains the same network on, for `max_epochs` more. Of changed parameters it heeds those of
        training; network, optimizer class and device stay what they are.
    checkpoint : path of a folder, or None
        Every `checkpoint_every` epochs the state of the fit is written there. A fit that was killed or interrupted goes
        on from it when it is run again with the same data and parameters, and ends, on a CPU with the same number of
        threads, bit for bit as if nothing had happened. Each fit has a file of its own, so that the fits of a search
        share a folder; it is removed when the fit is complete. After changes of data, parameters or code (this package,
        PyTorch, the classes and functions that a network of yours names) a fit begins anew, beside the old file.
        skorch's callbacks are not restored. Give a `random_state` if equal fits run at the same time. With `warm_start`
        it is the sequence of fits that must be repeated in a new process.
    checkpoint_every : int
        Epochs.
    keep_checkpoint : bool
        Keep the file of a complete fit. The same fit again then reads it instead of training, so that a search that
        was killed repeats none of its fits. With `schedule_epochs`, a fit of more `max_epochs` goes on from the file of
        fewer, and ends as if it had never stopped. A file has about four times the size of the weights; the folder is
        yours to delete. Needs a `random_state`. Fits with other `callbacks` are others; with other numbers of threads
        they are the same, but for rounding.
    random_state : int, RandomState or None
        An int makes fits repeatable: bit for bit on one machine with the same number of threads, whatever other
        threads do; on CUDA with ``torch.use_deterministic_algorithms(True)``, and of random layers only nn.Dropout.
    device : str, torch.device or None
        None: where X is if that is no CPU, else CUDA if there is one, else the CPU.
    n_threads : int or None
        CPU threads that PyTorch computes with in fit and predictions, 1,024 at most; None: as it is set. Candidates of
        a search in threads of one process (``joblib.parallel_config("threading")``) should share the cores:
        cores // n_jobs. joblib's processes do so of their own accord. A forked process computes with one.
    precision : {"auto", "bf16", "fp32"}
        Arithmetic of the network. "auto" is bfloat16 where the hardware multiplies it (AVX512-BF16, AMX, CUDA from
        Ampere), which is faster. Weights, loss and probabilities are float32 in any case.
    callbacks : list of skorch callbacks, "disable" or None
    verbose : int
        1 prints a line for every epoch.

    Attributes
    ----------
    classes_ : (n_classes,) labels, sorted
    image_shape_ : (C, H, W) of the training images
    value_range_ : (smallest, largest) training pixel
    history_ : skorch's History: a dict for every epoch with train_loss, train_acc, valid_loss, valid_acc, lr, dur, and
        valid_class_acc, the accuracy of each class
    best_epoch_ : the epoch of the best monitored score, counted from 1, where there were validation images
    n_iter_ : epochs trained in all
    n_features_in_, feature_names_in_ : as in scikit-learn
    device_ : the torch.device that the network is on
    module_, criterion_, optimizer_, callbacks_ : as in skorch; the network itself is ``module_.network``
    """

    module: Any = None
    image_shape: tuple[int, ...] | None = None
    standardize: bool | str = True
    lr: float = 2e-3
    max_epochs: int = 10
    batch_size: int = 128
    optimizer: str | type[torch.optim.Optimizer] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_biases: bool = False
    gradient_clip: float | None = None
    sam_rho: float = 0.0
    schedule: Any = "constant"
    schedule_epochs: int | None = None
    criterion: Any = "cross_entropy"
    label_smoothing: float = 0.0
    triplet_weight: float = 0.0
    triplet_margin: float = 0.2
    augment: Any = None
    ema: float | None = None
    swa: float | None = None
    tta: str | tuple[str, ...] | None = None
    class_weight: dict | str | None = None
    validation_fraction: float | int | None = None
    validation_data: tuple | None = None
    monitor: str = "valid_acc"
    keep_best: bool = True
    early_stopping: bool = False
    patience: int = 5
    warm_start: bool = False
    checkpoint: str | os.PathLike | None = None
    checkpoint_every: int = 1
    keep_checkpoint: bool = False
    random_state: int | np.random.RandomState | None = None
    device: str | torch.device | None = None
    n_threads: int | None = None
    precision: str = "auto"
    callbacks: list | str | None = None
    verbose: int = 0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if lost := (set(vars(cls)) & {field.name for field in fields(cls)}) - set(inspect.get_annotations(cls)):
            raise TypeError(f"{cls.__name__} must annotate its new defaults ({', '.join(sorted(lost))}), as in "
                            "`lr: float = 0.1`, or the constructor overrules them.")
        if "__init__" not in vars(cls):
            dataclass(kw_only=True, eq=False, repr=False)(cls)

    # ------------------------------------------------------------------ fit

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network on images X (n, ...) with labels y (n,).

        sample_weight : (n,) non-negative, optional
            Whole numbers act as repetitions, zero leaves an image out, others are factors of the loss.

        Raises ValueError or TypeError for parameters, images, labels or weights that cannot be used, and ValueError
        if the loss stops being a number. Both that and Ctrl-C (KeyboardInterrupt) leave the weights of the best
        validation epoch so far; without validation, those at that moment.
        """
        self._validate_params()
        context = self._init_callback_context(max_subtasks=self.max_epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self._callback_data = X, y
        try:
            with use_cpu(self.n_threads):
                for _ in self._fitting_anew(X, y, sample_weight):
                    pass
        finally:
            del self._callback_data
        context.call_on_fit_task_end(estimator=self, X=X, y=y,
                                     reconstruction_attributes=lambda: {"n_iter_": self.n_iter_})
        return self

    def partial_fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | None = None,
                    sample_weight: ArrayLike | None = None) -> Self:
        """One epoch on these images, with learning rate `lr` and no schedule.

        The first call fixes classes, image shape and standardisation; `classes` names labels that are still to come.
        """
        self._validate_params()
        with use_cpu(self.n_threads):
            for _ in self._fitting(X, y, sample_weight, restart=not self.initialized_, epochs=1, planned=1,
                                   schedule=Constant(), classes=classes):
                pass
        return self

    def _fitting_anew(self, X, y, sample_weight) -> Generator:
        """A fit; that of a member of a group yields its batches, see `Trainer._loop`."""
        return self._fitting(X, y, sample_weight, restart=not (self.warm_start and self.initialized_),
                             epochs=self.max_epochs, planned=self.schedule_epochs or self.max_epochs,
                             schedule=as_schedule(self.schedule), folder=self.checkpoint)

    def _fitting(self, X, y, sample_weight, *, restart, epochs, planned, schedule: Schedule, folder=None, classes=None
                 ) -> Generator:
        if restart:
            self.initialized_ = False
            # Should the fit fail, nothing old is left to predict with.
            for name in ("module_", "_built_for", "_generators", "best_epoch_", "n_iter_"):
                vars(self).pop(name, None)
        images = self._training_images(X, y, sample_weight, restart=restart, classes=classes)
        is_first = restart or self.value_range_ is None
        if is_first:
            self.value_range_ = value_range(images.pixels, images.rows)
            self._statistics = self._pixel_statistics(images)
        file = None if folder is None else FitFile(folder, self._fingerprint(images, restart),
                                                   None if self.schedule_epochs is None else epochs,
                                                   self.keep_checkpoint)
        if restart:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            if file is not None and file.content is not None:
                self._seed = file.content["seed"]
            self.initialize()
            self._whiten(images)
        else:
            if is_first and self.standardize:
                self.module_.standardize.learn(*self._statistics)
            if not any(True for _ in self.criterion_.parameters()):
                self.initialize_criterion()             # it may have been set anew
        try:
            yield from self._train(images, epochs, schedule, planned, file)
        finally:
            if self.history and "train_loss" not in self.history[-1]:       # an epoch that was not finished
                del self.history_[-1]
            self.n_iter_ = len(self.history)

    # ------------------------------------------------------------------ predict

    def predict_proba(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """Probabilities (n, n_classes) float32, in the order of ``classes_``."""
        values = self._probabilities(X)
        return values.to(X.device) if self._wants_tensor(X) else values.cpu().numpy()

    def predict(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The most probable label of each image, (n,)."""
        codes = self._probabilities(X).argmax(1)
        if isinstance(X, Images):           # skorch's scoring callbacks compare codes with codes
            return codes.cpu().numpy()
        if self.classes_.dtype.kind in "biuf" and self._wants_tensor(X):
            return torch.from_numpy(self.classes_).to(X.device)[codes.to(X.device)]
        return self.classes_[codes.cpu().numpy()]

    def score(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of ``predict(X)``."""
        if isinstance(y, Tensor) and not self._wants_tensor(X):
            y = y.cpu().numpy()
        return super().score(X, y, sample_weight)

    def _probabilities(self, X) -> Tensor:
        self._check_ready()
        with use_cpu(self.n_threads):
            return self._probabilities_of(self.get_dataset(X))

    def _probabilities_of(self, images: Images) -> Tensor:
        if self.tta is None:
            parts = iter([images])
        else:
            pixels = images.pixels if images.rows is None else images.pixels[images.rows]
            background = 0 if self.value_range_ is None else self.value_range_[0]
            parts = (Images(view) for view in views(pixels, self.tta, background))      # one at a time
        found = [torch.cat(list(map(self._as_probabilities, self.forward_iter(part, device=None)))) for part in parts]
        found = found[0] if len(found) == 1 else torch.stack(found).mean(0)
        if not torch.isfinite(found).all():
            (low, high), (least, most) = value_range(images.pixels, images.rows), self.value_range_ or (0, 0)
            if least <= low and high <= most:
                rate = self._live_lr
                raise ValueError("The network computes no numbers for images such as it was trained on: its last fit "
                                 f"went wrong. Fit it again with a lower {rate}={getattr(self, rate)}.")
            raise ValueError("X must hold values that the network can compute with, got pixels from "
                             f"{low:g} to {high:g}; those of the training images go from {least:g} to {most:g}.")
        return found

    def _as_probabilities(self, logits: Tensor) -> Tensor:
        probabilities = getattr(self.criterion_, "probabilities", None)
        if probabilities is None:
            return logits.softmax(1)
        found = probabilities(logits)
        if not is_ours(self.criterion_):
            check_probabilities(found, logits, self.criterion_)
        return found

    def _fingerprint(self, images: Images, restart: bool) -> str:
        """What tells this fit from others: settings, data, and the network that it goes on with."""
        ignored = {"checkpoint", "checkpoint_every", "device", "keep_checkpoint", "n_threads", "tta", "verbose",
                   "warm_start", *([] if self.schedule_epochs is None else ["max_epochs"]),
                   *([] if self.keep_checkpoint else ["callbacks"])}
        params = {**BaseEstimator.get_params(self, deep=False), **self._prefixed_params()}
        rows = images.rows
        return fingerprint(
            type(self), {name: value for name, value in params.items() if name not in ignored}, self.device_.type,
            self.image_shape_, self.classes_, content_hashes(images.pixels, images.codes)[rows],
            None if images.weights is None else images.weights[rows],
            None if restart else (self.module_.state_dict(), len(self.history), self._generators["shuffle"].get_state(),
                                  self._generators["device"].get_state()))

    def _wants_tensor(self, X) -> bool:
        return isinstance(X, Tensor) and get_config()["array_api_dispatch"]

    # ------------------------------------------------------------------ settings

    def _choose_device(self, X=None) -> torch.device:
        if self.device is None:
            if isinstance(X, (Tensor, SharedImages)) and X.device.type != "cpu":
                return X.device
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device).cpu()
        except TypeError as error:
            raise TypeError(f"device must be a text or a torch.device, got device={self.device!r}.") from error
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"device must name a device of this machine, such as 'cpu', got device={self.device!r} "
                             f"({str(error).splitlines()[0]}).") from error
        return device

    def _pixel_statistics(self, images: Images) -> tuple[Tensor, Tensor]:
        """What the standardising first layer subtracts and divides by: (channels,) each."""
        if self.standardize == "min_max":
            low, high = self.value_range_
            return tuple(torch.full((self.image_shape_[0],), value, dtype=torch.float64).float()
                         for value in (low, high - low))
        return pixel_statistics(images.pixels, images.rows)

    @property
    def _network_shape(self) -> tuple[int, int, int]:
        channels, *sides = self.image_shape_
        return channels, *(max(side, self._smallest_side()) for side in sides)

    def _smallest_side(self) -> int:
        """Of images that the network takes, whatever was set since it was built; of one that it would be built with."""
        return vars(self).get("_built_for") or self._minimum_size()

    def _minimum_size(self) -> int:
        """The smallest height and width that the network takes."""
        return 1

    def _architecture_params(self) -> dict[str, Any]:
        """Parameters that subclasses add: those that the module's signature names are passed to it."""
        base = {field.name for field in fields(ImageClassifier)}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in base}

    def _prepare_unfitted(self) -> None:
        self._validate_params()
        shape = tuple(self.image_shape or (28, 28))
        self.image_shape_ = check_image_shape(shape, math.prod(shape))
        self.n_features_in_ = math.prod(shape)
        self.classes_inferred_ = np.arange(10)
        self.value_range_ = None
        self._statistics = torch.zeros(self.image_shape_[0]), torch.ones(self.image_shape_[0])
        self.device_ = self._choose_device()
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

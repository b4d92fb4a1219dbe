"""ImageClassifier: any PyTorch network as a scikit-learn classifier of images."""
from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, dataclass_transform

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.containers import wants_tensor
from fmnist_sk._data.images import Images
from fmnist_sk._data.labels import names_of
from fmnist_sk._data.ranges import value_range
from fmnist_sk._data.shapes import padding_to
from fmnist_sk._estimator.constraints import PARAMETER_CONSTRAINTS
from fmnist_sk._estimator.fitting import Plan, fitting, plan_of
from fmnist_sk._estimator.skorch import SkorchNet
from fmnist_sk._network.layers import in_memory_format
from fmnist_sk._network.predictor import Predictor
from fmnist_sk._runtime.cpu import use_cpu
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk._runtime.sklearn_callbacks import with_callbacks
from fmnist_sk._storage.onnx import export_onnx, export_program
from fmnist_sk._training.hooks import is_examined
from fmnist_sk.schedules import Constant


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(kw_only=True, eq=False, repr=False)
class ImageClassifier(SkorchNet):
    """Neural network for small images: a scikit-learn classifier and a skorch net.

    Images X can be (n, features), (n, H, W) or (n, C, H, W): arrays, DataFrames, tensors on any device or skorch's
    SliceDataset, uint8 or float, raw or scaled. Labels y are one per image, as scikit-learn's classifiers accept.
    Predictions are NumPy arrays; with scikit-learn's ``array_api_dispatch`` and a tensor X they are tensors on X's
    device.

    skorch's hooks, callbacks and helpers work as skorch documents them (see the guide's page on training).

    Parameters
    ----------
    module : nn.Module class or instance, or function that returns an instance
        The network: pixels (n, C, H, W) float32 in, logits (n, n_classes) out. A class or function is passed those of
        `in_channels`, `n_classes` and `image_shape` (C, H, W) that its signature names, and the settings
        ``module__*`` made with `set_params`. An instance is copied, so each fit starts from its weights.
    image_shape : (H, W) or (C, H, W), optional
        Shape of the images that flat rows hold. Default: square; rows that do not fill a square are padded.
    standardize : bool or "min_max"
        The network's first layer subtracts the mean and divides by the standard deviation of the training pixels, per
        channel, so raw pixels need no preparation. "min_max" maps the smallest training pixel to 0 and the largest to 1
        instead.
    lr : float
        Learning rate; with a `schedule`, its largest value.
    max_epochs : int
        Passes over the training images in a fit.
    batch_size : int
        Images per training step. A single image left over joins the batch before it. On CUDA, validation and prediction
        use batches four times as large.
    optimizer : {"sgd", "adam", "adamw", "rmsprop", "asgd"} or torch optimizer class
        The optimizer; its other settings are ``optimizer__*`` (in grids and `set_params`, not in the constructor).
    momentum : float
        Nesterov momentum of "sgd"; other optimizers do not use it.
    weight_decay : float
        Weight decay; applied to biases and normalisation parameters only with `decay_biases`.
    decay_biases : bool
        Whether `weight_decay` also applies to biases and normalisation parameters, as in plain PyTorch; most recipes
        exempt them.
    gradient_clip : float or None
        Largest Euclidean norm of the gradient over all parameters; larger gradients are scaled down. None: no limit.
    sam_rho : float
        Radius of sharpness-aware minimisation (Foret et al., 2021, https://arxiv.org/abs/2010.01412): above 0, every
        step uses the gradient at the point of largest loss within this distance. Works with any optimizer and takes
        twice the time.
    schedule : {"constant", "multi_step", "exponential", "reduce_on_plateau", "cosine", "one_cycle"}, schedule or class
        How the learning rate changes over a fit: a name, an object such as ``Cosine(warmup=0.1)`` (see `OneCycle` and
        the other schedules), or a class of torch.optim.lr_scheduler.
    schedule_epochs : int or None
        Epochs over which `schedule` and `swa` are planned, at least `max_epochs`; None: `max_epochs`. If larger, the
        fit stops where the full-length fit would be after `max_epochs`, as a halving search with the resource
        `max_epochs` needs.
    criterion : {"cross_entropy", "focal", "sigmoid", "softmax_of_sigmoid", "mse"}, nn.Module class or instance
        The loss; see `CrossEntropy` and the other losses. Its settings are ``criterion__*`` (in grids, `set_params`).
        A module takes logits (n, n_classes) and class codes (n,), or with MixUp or CutMix class shares (n, n_classes),
        and has an attribute `reduction`, which training sets; nn.NLLLoss gets the logits' log-softmax. Its method
        `probabilities`, if any, turns logits into probabilities; otherwise softmax does.
    label_smoothing : float
        Share of every target, from 0 to below 1, that is spread over all classes (Szegedy et al., 2016,
        https://arxiv.org/abs/1512.00567). Applies to named losses and to classes that accept it; an instance keeps its
        own.
    triplet_weight : float
        Weight of a triplet loss on the input of the last layer; see `TripletLoss`. 0 for none. It is part of
        train_loss, not of valid_loss.
    triplet_margin : float
        Margin by which distances between classes should exceed those within a class, from 0 to 2.
    augment : name of a preset, `Preset`, random transformer, list or Pipeline of them, or None
        Random changes, in training only. They are drawn afresh for every image of every batch; only `AugmentedCopies`
        are drawn once. Presets (see `Preset`): "light" shifts by up to one pixel, "fashion" also mirrors, "strong"
        shifts by two pixels, mirrors, erases and pastes; "report_1" to "report_3" are those of published reports (see
        `reference_systems`).
    ema : float or None
        Validate and predict with an exponential moving average of the weights, with this decay, such as 0.999. In the
        n-th step the decay is at most ``n / (9 + n)``, so that the initial weights are soon forgotten. Further training
        starts from the average.
    swa : float or None
        After this share of a fit, validate and predict with the mean of the weights after each epoch: stochastic weight
        averaging (Izmailov et al., 2018, https://arxiv.org/abs/1803.05407). Needs a schedule that does not end near
        zero. Networks with batch normalisation then need one more pass over the training images per epoch, for the
        statistics of the average.
    teacher : classifier, or None
        Knowledge distillation (Hinton et al., 2015, https://arxiv.org/abs/1503.02531): the network learns the
        probabilities that this classifier gives each augmented image, in addition to its label. The classifier has the
        same `classes_` and takes images of the same shape and scale: one of this package, a DeepEnsembleClassifier or
        any other with predict_proba. Networks of this package predict without their test-time augmentation. If it is
        not fitted, each fit and partial_fit begins with training a clone of it on the same training images, without
        weights; what has no `random_state` of its own gets one from the fit's, if that has one or a checkpoint. Clones
        share the classifier; saved files leave it out.
    teacher_weight : float
        Share of the target that is the teacher's, from 0 to 1; the rest is the label's. Without `teacher` it has no
        effect.
    tta : None, "mirror", "shift" or a pair of them
        Test-time augmentation: probabilities are averaged over each image and its mirror image, or its shifts by a
        pixel in four directions, or both (10 views). Used in predictions, not in validation.
    tta_below : float or None
        Use `tta` only for images whose largest probability without it is below this, from 0 to 1; for the others it
        rarely changes the prediction. None: use it for all images. Without `tta` it has no effect.
    class_weight : dict, "balanced" or None
        Factor of the loss for each label, 1 for those missing from a dict; "balanced" gives all classes the same total
        weight.
    validation_fraction : float, int or None
        Share (0 to 1) or number of the distinct training images to hold out, stratified by class. Copies of an image
        with one label stay together. valid_loss is computed like the training loss, including smoothing and weights,
        but without the shares of a teacher and of the triplet loss.
    validation_data : (X, y) or None
        Validation images, instead of held-out ones.
    monitor : {"valid_acc", "valid_loss"}
        Score that determines the best epoch.
    keep_best : bool
        With validation images, a fit ends with the weights of its best epoch.
    early_stopping : bool
        Stop after `patience` epochs without a better score. Needs validation images.
    patience : int
        Number of epochs for `early_stopping`.
    warm_start : bool
        Whether a further fit continues training the same network, for `max_epochs` more. Changed training parameters
        take effect; network, optimizer class, `momentum`, `decay_biases` and device stay as they are.
    checkpoint : path of a folder, or None
        Folder to which the state of the fit is written every `checkpoint_every` epochs (extra ``fmnist_sk[save]``). A
        fit that was killed or interrupted resumes from it when run again with the same data and parameters; on a CPU
        with the same number of threads, its result is bit-identical to that of an uninterrupted fit. Each fit has its
        own file, so the fits of a search can share a folder; the file is removed when the fit is complete. If data,
        parameters or code have changed (this package, PyTorch, the classes and functions that your own network refers
        to), a fit starts over and leaves the old file there. skorch's callbacks are not restored. Set `random_state` if
        identical fits run at the same time. With `warm_start`, a new process must repeat the whole sequence of fits.
    checkpoint_every : int
        Epochs between two checkpoints. Larger numbers save time if the network is large and epochs are short.
    keep_checkpoint : bool
        Keep the file of a complete fit. When the same fit is run again, it reads the file instead of training, so a
        search that was killed repeats none of its complete fits. With `schedule_epochs`, a fit with more `max_epochs`
        continues from the file of one with fewer, and ends as if it had never stopped. A file is about four times as
        large as the weights; delete the folder when done. Needs a `random_state`. Fits with different `callbacks` do
        not share a file; fits with different numbers of threads do, as they differ only by rounding.
    random_state : int, RandomState or None
        An int makes fits repeatable: bit-identical on one machine with the same number of threads, whatever other
        threads do; on CUDA only with ``torch.use_deterministic_algorithms(True)`` and no random layers other than
        nn.Dropout.
    device : str, torch.device or None
        None: the device of X unless that is the CPU, else CUDA if available, else the CPU.
    n_threads : int or None
        CPU threads that PyTorch uses in fits, predictions, features and maps, from 1 to 1,024, but never more than the
        processors that this process may use (by its affinity, its container's quota and joblib's LOKY_MAX_CPU_COUNT);
        None: PyTorch's own setting. Candidates of a search that run in threads of one process
        (``joblib.parallel_config("threading")``) should share the cores: cores // n_jobs. joblib's processes do so by
        themselves. A forked process uses one thread. A fit warns if other programs keep its threads waiting, which can
        make it take more than ten times as long; if neither `n_threads` nor `random_state` is set, it continues with
        fewer threads.
    precision : {"auto", "bf16", "fp32"}
        Arithmetic of the network. "auto" is bfloat16 if the hardware supports it (AVX512-BF16, AMX, CUDA from Ampere),
        which is faster. Weights, loss and probabilities are always float32.
    callbacks : list of skorch callbacks, "disable" or None
        Called as in skorch during a fit; "disable" also switches off the two default ones, which time and print epochs.
    verbose : int
        1 prints a line for every epoch, 0 nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    image_shape_ : tuple of 3 ints
        Channels, height and width of the training images.
    value_range_ : tuple of 2 floats
        The smallest and the largest training pixel.
    history_ : History
        skorch's History: a dict for every epoch with train_loss, train_acc, valid_loss, valid_acc, lr, dur, and
        valid_class_acc_0, valid_class_acc_1, ..., the accuracy of each class in the order of ``classes_``.
    best_epoch_ : int
        The epoch of the last fit with the best monitored score, counted from the first fit's first epoch, which is 1;
        only if there were validation images.
    n_iter_ : int
        Epochs trained in total.
    n_features_in_ : int
        Number of values of an image, since the classifier also accepts images as rows. Estimators that compare it with
        ``X.shape[1]`` (mapie) therefore need images as rows, with `image_shape`.
    feature_names_in_ : ndarray of str
        The column names, if X was a DataFrame with names.
    device_ : torch.device
        The device of the network.
    module_, criterion_, optimizer_, callbacks_ : as in skorch
        The network itself is ``module_.network``.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from fmnist_sk import ImageClassifier
    >>> class Net(nn.Sequential):
    ...     def __init__(self, image_shape, n_classes):
    ...         super().__init__(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], n_classes))
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> ImageClassifier(module=Net, max_epochs=2, random_state=0).fit(X, y).predict_proba(X).shape
    (40, 2)
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
    teacher: Any = None
    teacher_weight: float = 0.9
    tta: str | tuple[str, ...] | None = None
    tta_below: float | None = None
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

    _parameter_constraints = PARAMETER_CONSTRAINTS

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if lost := (set(vars(cls)) & {field.name for field in fields(cls)}) - set(inspect.get_annotations(cls)):
            raise TypeError(f"{cls.__name__} must annotate its new defaults ({', '.join(sorted(lost))}), as in "
                            "`lr: float = 0.1`, or the constructor overrides them.")
        if "__init__" not in vars(cls):
            dataclass(kw_only=True, eq=False, repr=False)(cls)

    # ------------------------------------------------------------------ fit

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The training images.
        y : array-like or tensor of shape (n,)
            Their labels: strings, whole numbers, booleans or NumPy dates.
        sample_weight : array-like of shape (n,), optional
            Non-negative numbers. Whole ones act as repetitions, unless these make more than four times as many images
            as X has; then, and if there are other numbers, weights are factors of the loss, divided by their mean. Zero
            leaves an image out.

        Returns
        -------
        ImageClassifier
            The classifier itself.

        Raises
        ------
        TypeError or ValueError
            For parameters, images, labels or weights that cannot be used.
        ValueError
            If the loss becomes infinite or NaN. After that, and after Ctrl-C (KeyboardInterrupt), the weights are those
            of the best validation epoch so far; without validation, the current ones.
        """
        self._validate_params()
        task = self._init_callback_context(max_subtasks=self.max_epochs)
        task.call_on_fit_task_begin(estimator=self, X=X, y=y)
        with use_cpu(self.n_threads), fitting(self, X, y, sample_weight, plan_of(self), task) as fit:
            self.fit_loop(fit.images, epochs=fit.epochs)
        task.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        return self

    def partial_fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | None = None,
                    sample_weight: ArrayLike | None = None, epochs: int | None = None) -> Self:
        """Continue training on these images, with learning rate `lr` and no schedule.

        The first call fixes classes, image shape and standardisation.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,)
            Their labels.
        classes : array-like of shape (n_classes,), optional
            All labels, in the first call, if some come only later; in later calls the same or None.
        sample_weight : array-like of shape (n,), optional
            As in `fit`.
        epochs : int, optional
            Passes over the images. Default: one, as in scikit-learn; `max_epochs`, as in skorch, for its SkorchDoctor.

        Returns
        -------
        ImageClassifier
            The classifier itself.

        Raises
        ------
        TypeError or ValueError
            As `fit` does, and for labels or classes other than those of the first call.
        """
        self._validate_params()
        if epochs is None:
            epochs = self.max_epochs if is_examined(self) else 1
        epochs = check_count(epochs, "epochs")
        plan = Plan(restart=not self.initialized_, epochs=epochs, planned=epochs, schedule=Constant(), classes=classes)
        with use_cpu(self.n_threads), fitting(self, X, y, sample_weight, plan) as fit:
            self.fit_loop(fit.images, epochs=epochs)
        return self

    # ------------------------------------------------------------------ predict

    def predict_proba(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The probability of each class for each image.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray or tensor of shape (n, n_classes)
            float32 from 0 to 1, in the order of ``classes_``. A tensor on X's device if X is a tensor and
            scikit-learn's ``array_api_dispatch`` is on.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError or ValueError
            For images that cannot be used.
        """
        values = self._probabilities(X)
        return values.to(X.device) if wants_tensor(X) else values.cpu().numpy()

    def predict(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The most probable label of each image.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray or tensor of shape (n,)
            Labels of ``classes_``. A tensor on X's device if the labels are numbers, X is a tensor, and
            scikit-learn's ``array_api_dispatch`` is on.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError or ValueError
            For images that cannot be used.
        """
        codes = self._probabilities(X).argmax(1)
        if self.classes_.dtype.kind in "biuf" and wants_tensor(X):
            return torch.from_numpy(self.classes_).to(X.device)[codes.to(X.device)]
        return self.classes_[codes.cpu().numpy()]

    def score(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of ``predict(X)``.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.
        y : array-like or tensor of shape (n,)
            Their true labels.
        sample_weight : array-like of shape (n,), optional
            Weights of the images.

        Returns
        -------
        float
            Share of the images whose predicted label is right, from 0 to 1.
        """
        if isinstance(y, Tensor) and not wants_tensor(X):
            y = y.cpu().numpy()
        return super().score(X, y, sample_weight)

    def _probabilities(self, X) -> Tensor:
        is_scored = isinstance(X, (Images, Mapping))        # by skorch's callbacks, which see what validation sees
        images = self.get_dataset(X)
        with use_cpu(self.n_threads), torch.no_grad():          # the loss may have parameters
            predictor = Predictor(self._logits, self.criterion_, None if is_scored else self.tta, self.tta_below,
                                  self._encoder.pixel_range.background)
            found = predictor(images if predictor.tta is None else images.tensor())
            if not torch.isfinite(found).all():
                raise self._not_finite(images)
            return found

    def _logits(self, x: Images | Tensor) -> Tensor:
        """Logits (n, n_classes) of images that are ready for the network, computed in batches."""
        return torch.cat(list(self.forward_iter(x if isinstance(x, Images) else Images(x), device=None)))

    def _not_finite(self, images: Images) -> ValueError:
        (low, high), (least, most) = value_range(images.pixels, images.rows), self.value_range_ or (0, 0)
        if least <= low and high <= most:
            name = self._lr_name
            return ValueError("The network's outputs are not finite even for images like those it was trained on: its "
                              f"last fit went wrong. Fit it again with {name} below {getattr(self, name)}.")
        return ValueError("X must hold values that the network can compute with, got pixels from "
                          f"{low:g} to {high:g}; those of the training images range from {least:g} to {most:g}.")

    # ------------------------------------------------------------------ elsewhere

    def to_exported_program(self) -> torch.export.ExportedProgram:
        """The fitted classifier as a program that needs only PyTorch: ``torch.export.save(program, "model.pt2")``.

        ``program.module()(images)`` gives the probabilities (n, n_classes) float32, in the order of ``classes_``, of
        images (n, channels, height, width) float32 with values as in training, n >= 1. Standardisation, padding,
        test-time augmentation and the loss's probabilities are included. The program runs on the CPU, in float32.

        Returns
        -------
        torch.export.ExportedProgram

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            For a network that torch.export cannot follow.
        """
        return export_program(self._exportable(), torch.zeros(2, *self.image_shape_))

    def to_onnx(self, path: str | os.PathLike, class_names: Sequence[str] | None = None) -> Path:
        """Write the fitted classifier as an ONNX model, which other languages and programs can run.

        Input "images": float32 (n, channels, height, width), values as in training, n >= 1. Outputs "label": (n,), the
        labels themselves; "probabilities": float32 (n, n_classes); and with `class_names`, (n_classes,) texts in the
        order of ``classes_``, "class_name": (n,). The model's metadata hold "classes", the order of the probabilities,
        "class_names", "image_shape" and "value_range" as JSON. Standardisation, padding, test-time augmentation and
        the loss's probabilities are included. Before the file is written, onnxruntime runs the model, which computes in
        float32, and its results are compared with PyTorch's in float32. A classifier that predicts in bfloat16, as with
        ``precision="auto"`` if the hardware supports it, rounds its own probabilities more coarsely, so they differ a
        little, and a few labels with them, where two classes are close: ``set_params(precision="fp32")`` avoids it.

        To export a DeepEnsembleClassifier, export its members, ``estimators_``, one by one: its probabilities are the
        mean of theirs.

        Needs the extra ``fmnist_sk[onnx]``.

        Parameters
        ----------
        path : path
            The file to write.
        class_names : sequence of n_classes strings, optional
            Names in the order of ``classes_``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ImportError
            Without the extra.
        ValueError
            For a network that torch.export cannot follow, labels that ONNX has no type for, and names that do not match
            the classes.
        RuntimeError
            If labels differ, or probabilities by more than 1e-5 and by more than PyTorch's own rounding errors explain.
        """
        predictor, range_ = self._exportable(), self._encoder.pixel_range
        names = None if class_names is None else names_of(self.classes_, class_names)
        images = torch.rand(3, *self.image_shape_, generator=torch.Generator().manual_seed(0))
        images = range_.low.cpu() + range_.span.cpu() * images
        return export_onnx(predictor, path, images, self.classes_, names, self.value_range_)

    def _exportable(self) -> Predictor:
        """Everything a prediction computes as one module, a copy in float32 on the CPU."""
        check_is_fitted(self)
        module = in_memory_format(copy.deepcopy(self.module_).cpu(), torch.contiguous_format)
        return Predictor(module, copy.deepcopy(self.criterion_).cpu(), self.tta, self.tta_below,
                         self._encoder.pixel_range.background.cpu(),
                         padding_to(self.image_shape_, self._encoder.smallest_side),
                         skips=False).eval().requires_grad_(False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

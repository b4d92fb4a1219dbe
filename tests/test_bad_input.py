"""Bad input is refused with a sentence that names the parameter, the rule and the value given."""
import datetime
import pickle
import re
from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from estimators import PatchNet, net, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from torch import nn

from fmnist_sk import (
    ConvNetClassifier,
    Cosine,
    CutMix,
    DeepEnsembleClassifier,
    FeatureExtractor,
    FocalLoss,
    HOGTransformer,
    ImageClassifier,
    MixUp,
    MultiStep,
    RandomCrop,
    ReduceOnPlateau,
    SharedImages,
    TorchSchedule,
    feature_maps,
    grad_cam,
    summary,
)
from fmnist_sk._runtime.memory import enough_memory


class Detached(PatchNet):
    def forward(self, x):
        return super().forward(x).detach()


class Unprepared(nn.Module):
    def __init__(self, n_classes):
        self.layer = nn.Linear(64, n_classes)


class Returns(nn.Module):
    """A loss that returns what it was made with."""

    def __init__(self, value):
        super().__init__()
        self.value, self.reduction = value, "mean"

    def forward(self, logits, targets):
        return self.value


class NoArray:
    """Looks like an array and cannot be read, such as one of a file that was closed."""

    def __init__(self, *shape):
        if shape:
            self.shape, self.ndim = shape, len(shape)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("it is closed")


def iter_of(y):
    yield from y


Garment = Enum("Garment", ["BAG", "COAT", "SHIRT"])

class Scores(nn.CrossEntropyLoss):
    """A loss whose probabilities are what a function makes of the logits."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def probabilities(self, logits):
        return self.function(logits)


BAD_DATA = {
    "NaN": (lambda X, y: (np.where(np.arange(64) == 3, np.nan, X.reshape(60, -1)), y), ValueError, "NaN or infinity"),
    "infinity": (lambda X, y: (X * np.inf, y), ValueError, "NaN or infinity"),
    "too large": (lambda X, y: (X * 1e300, y), ValueError, "NaN or infinity"),
    "NaN tensor": (lambda X, y: (torch.from_numpy(X / 0.0 * 0), y), ValueError, "NaN or infinity"),
    "sparse": (lambda X, y: (scipy.sparse.csr_array(X.reshape(60, -1)), y), TypeError, "Sparse data.*toarray"),
    "sparse dict": (lambda X, y: (scipy.sparse.dok_matrix(X.reshape(60, -1)), y), TypeError, "Sparse data.*toarray"),
    "sparse tensor": (lambda X, y: (torch.from_numpy(X).reshape(60, -1).to_sparse(), y), TypeError, "to_dense"),
    "empty": (lambda X, y: (X[:0], y[:0]), ValueError, "0 sample"),
    "empty tensor": (lambda X, y: (torch.from_numpy(X[:0]), y[:0]), ValueError, "0 sample"),
    "one class": (lambda X, y: (X, np.zeros(60)), ValueError, "at least 2 classes with a positive weight, got 1"),
    "y too long": (lambda X, y: (X, np.append(y, 1)), ValueError, "y must hold one label .* 60 images, got 61"),
    "y too long tensor": (lambda X, y: (X, torch.zeros(61)), ValueError, "one label for each of the 60 images"),
    "no y": (lambda X, y: (X, None), ValueError, "y must hold one label for each image, got y=None"),
    **{f"y of type {kind}": (lambda X, y, make=make: (X, make(y)), TypeError,
                             f"y must be a list or an array of labels, got y=.* of type {kind}")
       for kind, make in (("dict", lambda y: dict(enumerate(y))), ("set", set), ("generator", iter_of), ("int", len),
                          ("list", lambda y: [[1], [1, 2]] * 30))},
    "2-D labels": (lambda X, y: (X, np.stack([y, y], 1)), ValueError, r"y must be a 1d array .* got shape \(60, 2\)"),
    "y with NaN": (lambda X, y: (X, np.where(y == 1, np.nan, y)), ValueError, "NaN"),
    "continuous y": (lambda X, y: (X, y + 0.5), ValueError, "Unknown label type"),
    "text": (lambda X, y: (np.full((60, 4), "7"), y), ValueError, "X must hold pixel values.*dtype=<U1"),
    "dates": (lambda X, y: (X.reshape(60, -1).astype("M8[s]"), y), ValueError, "X must hold pixel values"),
    "no pixels tensor": (lambda X, y: (torch.zeros(60, 0), y), ValueError, "0 feature"),
    "meta tensor": (lambda X, y: (torch.zeros(60, 4, device="meta"), y), TypeError, "device meta"),
    "missing labels": (lambda X, y: (X, [None, "a"] * 30), ValueError, "y contains NaN, None or infinity"),
    "complex labels": (lambda X, y: (X, torch.zeros(60) * 1j), ValueError, "y must hold labels"),
    "words": (lambda X, y: ([["a", "b"]] * 60, y), ValueError, "X must hold pixel values, which are numbers"),
    **{f"1-D: {name}": (lambda X, y, make=make: (make(X[:, 0, 0]), y), ValueError, "X must have 2, 3 or 4 dimensions, "
                        rf"\(n, pixels\), .* got 1: shape \({n},\)\. Reshape your data, with X.reshape\(1, -1\)")
       for name, make, n in (("array", np.array, 60), ("tensor", torch.tensor, 60), ("list", list, 60),
                             ("Series", pd.Series, 60), ("range", lambda x: range(60), 60), ("none", lambda x: [], 0),
                             ("Series of arrays", lambda x: pd.Series(list(np.zeros((60, 4)))), 60))},
    **{f"0-D: {value!r}": (lambda X, y, value=value: (value, y), ValueError,
                           r"X must have 2, 3 or 4 dimensions, .* got 0: X=" + re.escape(repr(value)))
       for value in (None, 5, True, np.array(3.0), torch.tensor(3.0))},
    "class": (lambda X, y: (np.ndarray, y), TypeError, "X must be an array, .* got the class ndarray"),
    "records": (lambda X, y: (np.zeros((60, 2), "f4,f4"), y), ValueError, "X must hold pixel values, .*dtype=.*'f0'"),
    "void": (lambda X, y: (np.zeros((60, 2), "V4"), y), ValueError, "X must hold pixel values, .* got dtype=.V4"),
    "arrays as values": (lambda X, y: (np.array([[[1, 2], "a"]] * 60, dtype=object), y), ValueError,
                         "X must hold pixel values, which are numbers: setting an array element"),
    "a frame of complex numbers": (lambda X, y: (pd.DataFrame(X.reshape(60, -1) * 1j), y), ValueError,
                                   "Complex data not supported: X must hold real numbers, got complex128"),
    "dict": (lambda X, y: ({"images": X}, y), TypeError, "X must be an array, .* got a dict: pass its images as X"),
    "Bunch": (lambda X, y: (Bunch(images=X, target=y), y), TypeError, "X must be .* got a Bunch: pass its images as X"),
    "5-D": (lambda X, y: (X[:, None, None], y), ValueError, r"width\), got 5: shape \(60, 1, 1, 8, 8\)"),
    "channels last": (lambda X, y: (np.stack([X] * 3, axis=-1), y), ValueError, r"transpose\(0, 3, 1, 2\)"),
    "complex": (lambda X, y: (X * 1j, y), ValueError, "X must hold real numbers, got complex128"),
    "complex tensor": (lambda X, y: (torch.from_numpy(X) * 1j, y), ValueError, "X must hold real numbers, .*complex"),
    "masked": (lambda X, y: (np.ma.masked_array(X, X[0, 0, 0] == X), y), ValueError, "X must not hold masked values"),
    "masked labels": (lambda X, y: (X, np.ma.masked_array(y, y == 1)), ValueError, "y must not hold masked"),
    "enormous": (lambda X, y: ([[10**400, 1, 2, 3]] * 60, y), ValueError, "numbers of at most 64 bits"),
    "a frame of dates": (lambda X, y: (pd.DataFrame(X.reshape(60, -1).astype("M8[s]")), y), ValueError,
                         "X must hold pixel values, which are numbers, got dtype=datetime64"),
    "nested": (lambda X, y: (torch.nested.nested_tensor([torch.zeros(3, 3)] * 60), y), TypeError, "X must be one"),
    "nested labels": (lambda X, y: (X, torch.nested.nested_tensor([torch.zeros(1)] * 60)), TypeError, "y must be one"),
    "records as labels": (lambda X, y: (X, np.zeros(60, "V2")), ValueError, "y must hold labels, numbers or strings"),
    "complex weights": (lambda X, y: (X, y, torch.ones(60) * 1j), ValueError, "sample_weight must hold real numbers"),
    "masked weights": (lambda X, y: (X, y, np.ma.masked_array(np.ones(60), y == 1)), ValueError,
                       "sample_weight must not hold masked"),
    "enormous weights": (lambda X, y: (X, y, [10**400] * 60), ValueError, "sample_weight must hold numbers"),
    "text as weights": (lambda X, y: (X, y, "x"), ValueError, "sample_weight must hold one number .*: 'x'"),
    "mapping as weights": (lambda X, y: (X, y, {1: 2}), TypeError, "sample_weight must hold one number .* not 'dict'"),
    "missing weights": (lambda X, y: (X, y, pd.array([1, None] * 30)), ValueError, "sample_weight contains NaN"),
    "dates as weights": (lambda X, y: (X, y, y.astype("M8[s]")), ValueError,
                         "sample_weight must hold real numbers, got dtype=datetime64"),
    "no columns": (lambda X, y: (pd.DataFrame(index=range(60)), y), ValueError, r"0 feature\(s\): shape \(60, 0\)"),
    "no array": (lambda X, y: (NoArray(), y), ValueError, "a NoArray that cannot be converted to one: it is closed"),
    "no array of a shape": (lambda X, y: (NoArray(60, 64), y), ValueError, "a NoArray that cannot be converted to one"),
    "too many images": (lambda X, y: (np.broadcast_to(np.uint8(1), (10**12, 8, 8)), y), ValueError,
                        r"X needs more memory than there is, got shape \(1000000000000, 8, 8\)"),
    "too many rows": (lambda X, y: (np.broadcast_to(np.uint8(1), (10**12, 64)), y), ValueError, "X needs more memory"),
    **{f"objects: {kind.__name__}": (lambda X, y, kind=kind: (X, np.array([kind(label) for label in y], dtype=object)),
                                     ValueError, rf"got dtype=object of \['{name}'\]: pass y.astype\({name}\)")
       for name, kind in (("int", int), ("float", float), ("bool", bool), ("int", np.int64))},
    "bytes": (lambda X, y: (X, y.astype("S1")), TypeError, r"\['bytes'\]: pass \[label.decode\(\) for label in y\]"),
    "days": (lambda X, y: (X, [datetime.date(2020, 1, 1 + label) for label in y]), ValueError,
             r"y must hold labels, strings or whole numbers of at most 64 bits, got dtype=object of \['date'\]"),
    "members of an Enum": (lambda X, y: (X, [list(Garment)[label] for label in y]), ValueError,
                           r"y must hold labels, .* \['Garment'\]"),
    "decimals": (lambda X, y: (X, list(map(Decimal, y.tolist()))), ValueError, r"y must hold labels, .* \['Decimal'\]"),
    "enormous labels": (lambda X, y: (X, [10**30 + int(label) for label in y]), ValueError, "at most 64 bits, got"),
    "missing labels of pandas": (lambda X, y: (X, pd.array([1, None] * 30)), ValueError, "y contains NaN"),
    "data set": (lambda X, y: (torch.utils.data.TensorDataset(torch.from_numpy(X)), y), TypeError, "TensorDataset"),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_bad_data_are_refused_in_a_sentence(case, tiny_images):
    make, kind, message = BAD_DATA[case]
    with pytest.raises(kind, match=message):
        net(max_epochs=1).fit(*make(*tiny_images()))


BAD_PARAMETERS = [
    ({"optimizer": "sdg"}, ValueError, "optimizer must be one of 'sgd', .* class, got optimizer='sdg'"),
    ({"lr": Fraction(1, 3)}, TypeError, r"lr must be an int or a float, got lr=Fraction\(1, 3\)"),
    ({"sam_rho": 10**400}, ValueError, "sam_rho must be a number of 64 bits, got an int of 1329 bits"),
    ({"class_weight": {0: 10**400}}, ValueError, "class_weight must hold finite numbers >= 0, got 0: 1000"),
    ({"optimizer__lr": "x"}, TypeError, "optimizer cannot be created with .*lr.: .x."),
    ({"optimizer__param_groups": 3}, ValueError, "optimizer__param_groups must be a list of pairs .*, got 3"),
    ({"callbacks__print_log": 3}, TypeError, "callbacks__print_log must be a skorch callback or None, got"),
    ({"callbacks__nope": None}, ValueError, "callbacks__nope cannot be set to"),
    ({"callbacks": "disable", "callbacks__print_log": None}, ValueError,
     r"callbacks__print_log cannot be set to \[None\]: no such callback with callbacks='disable'"),
    ({"module__": 1}, ValueError, "module__ must name a parameter of module"),
    ({"optimizer": int}, TypeError, "optimizer must be one of .* or a torch.optim.Optimizer class, got"),
    ({"lr": -1}, ValueError, "The 'lr' parameter"),
    ({"max_epochs": 0}, ValueError, "The 'max_epochs' parameter"),
    *(({name: True}, ValueError, rf"The '{name}' parameter of ImageClassifier must be .*an int in .*Got True")
      for name in ("max_epochs", "batch_size", "n_threads", "patience", "schedule_epochs", "validation_fraction")),
    ({"image_shape": (True, 64)}, ValueError, r"image_shape must be \(height, .* got image_shape=\(True"),
    ({"precision": "fp8"}, ValueError, "The 'precision' parameter"),
    ({"module": None}, TypeError, "module must be an nn.Module class or instance, .*got module=None"),
    ({"module": nn.Linear(64, 5)}, ValueError, "module"),
    ({"module": lambda: 3}, TypeError, "module must be an nn.Module class or instance"),
    ({"module": nn.LSTM(8, 3)}, ValueError, "module"),
    ({"module": int}, TypeError, "module must be"),
    ({"callbacks": [3]}, TypeError, "callbacks must be skorch callbacks or pairs .*, got 3"),
    ({"device": "meta"}, ValueError, "device must name a device of this machine"),
    ({"optimizer": torch.optim.LBFGS}, ValueError, "optimizer must take steps without a closure"),
    ({"class_weight": {0: float("nan")}}, ValueError, "class_weight must hold finite numbers >= 0, got 0: nan"),
    ({"class_weight": {0: -1.0}}, ValueError, "class_weight must hold finite numbers >= 0, got 0: -1.0"),
    ({"class_weight": {0: "a"}}, ValueError, "class_weight must hold finite numbers"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "class_weight must leave images with a positive"),
    ({"module": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).requires_grad_(False)}, ValueError,
     "module must have parameters to train, got a network whose 2 parameters are all frozen"),
    ({"module": nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))}, ValueError, "got a network without any"),
    ({"module": Detached}, ValueError, "module must return logits that depend on its parameters, got some without a"),
    ({"module": Unprepared}, ValueError, "module cannot be built with .*: cannot assign module before Module.__init__"),
    ({"module": nn.Flatten()}, ValueError, r"module must return logits of shape \(n, n_classes\), here \(16, 3\)"),
    ({"device": "nonsense"}, ValueError, r"such as 'cpu', got device='nonsense'\.$"),
    ({"image_shape": (4, 16)}, ValueError, "image_shape must be that of the images in X"),
    ({"image_shape": (5, 5)}, ValueError, "image_shape must hold as many values as a row of X, 64"),
    ({"image_shape": (8,)}, ValueError, r"image_shape must be \(height, width\) or"),
    ({"early_stopping": True}, ValueError, "early_stopping=True needs validation images: .*, got neither"),
    ({"validation_fraction": 60}, ValueError, "validation_fraction must leave images to train on"),
    ({"validation_fraction": 1.5}, ValueError, "The 'validation_fraction' parameter"),
    ({"validation_data": (np.zeros((3, 8, 8)),)}, ValueError, r"validation_data must be a pair .* or None, got 1"),
    ({"validation_data": np.zeros((3, 8, 8))}, ValueError, r"a pair \(X, y\) or None, got an object of type ndarray"),
    ({"validation_data": (np.zeros((2, 8, 8)), ["0", "1"])}, ValueError,
     r"validation_data must be .*y must hold only labels of the training images, \[0, 1, 2\], got \['0'"),
    ({"validation_data": (np.zeros((3, 9, 9)), [0, 1, 2])}, ValueError, r"validation_data must .*, got \(1, 9, 9\)"),
    ({"validation_data": (np.zeros((2, 8, 8)), [0, 9])}, ValueError, "validation_data .*y must hold only labels of"),
    ({"validation_data": (None, [0, 1])}, ValueError, "validation_data must .*: X must have 2, 3 or .*, got 0: X=None"),
    *(({"augment": kind(alpha=alpha)}, ValueError, rf"The 'alpha' parameter of {kind.__name__} must .*\[1e-06, 1000")
      for kind in (MixUp, CutMix) for alpha in (1e-45, 1e39)),
    ({"augment": "stong"}, TypeError, r"augment must be None, one of \['fashion', 'light', 'rep"),
    ({"class_weight": "even"}, ValueError, "The 'class_weight' parameter"),
    ({"criterion": "hinge"}, ValueError, "criterion must be one of 'cross_entropy', .*, got criterion='hinge'"),
    ({"criterion": int}, TypeError, "criterion must be one of .*, or an nn.Module class or inst"),
    ({"criterion": nn.BCEWithLogitsLoss}, ValueError, r"criterion must take logits \(n, n_classes\) and class codes"),
    ({"criterion": nn.NLLLoss(reduction="none"), "augment": MixUp()}, ValueError, "criterion must take .* were mixed"),
    ({"criterion": FocalLoss(alpha=(1.0, 2.0))}, ValueError, "alpha must be a number or one for each of the 3"),
    ({"criterion": nn.Identity()}, ValueError, "criterion must take logits"),
    ({"criterion": nn.CosineEmbeddingLoss}, ValueError, "criterion must take logits"),
    ({"criterion": Returns(3.0)}, ValueError, r"criterion must return a tensor of shape \(\) with reduction='mean'"),
    ({"criterion": Returns(torch.zeros(2))}, ValueError, r"criterion must return a tensor of shape \(\) .* got \(2,"),
    ({"criterion": Scores(lambda z: z.softmax(1) - 1)}, ValueError, "criterion must have .*, got numbers >= -0"),
    ({"criterion": Scores(torch.sigmoid)}, ValueError, "criterion must have .*, got numbers >= 0.* with the sum 1"),
    ({"criterion": Scores(lambda z: z.amax(1))}, ValueError, r"criterion must have .*, got \(16,\) instead of \(16,"),
    ({"criterion": Scores(lambda z: 3)}, ValueError, r"criterion must have .*, got \('int',\) instead of \(16,"),
    ({"triplet_weight": -1}, ValueError, "The 'triplet_weight' parameter"),
    ({"triplet_margin": 3}, ValueError, "The 'triplet_margin' parameter"),
    ({"schedule": "one_cycel"}, TypeError, r"schedule must be one of \['constant', .* got schedule='one_cycel'"),
    ({"schedule": 3}, TypeError, "schedule must be one of"),
    ({"schedule": torch.optim.SGD}, TypeError, "schedule must be one of"),
    ({"schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "schedule cannot be created with settings=None: .*step"),
    ({"schedule": MultiStep(milestones=(0,))}, ValueError, r"milestones must be epochs .* got milestones=\(0,\)"),
    ({"schedule": "reduce_on_plateau"}, ValueError, "schedule needs validation images: set validation_fraction=0.1 or"),
    ({"schedule": ReduceOnPlateau("auc"), "max_epochs": 2}, ValueError, r"monitor must be a score .*got monitor='auc'"),
    ({"schedule": Cosine(warmup=1)}, ValueError, "The 'warmup' parameter of Cosine"),
    ({"schedule": ReduceOnPlateau("valid_class_acc"), "max_epochs": 2, "validation_fraction": 0.2}, ValueError,
     "monitor must be a score .*got monitor='valid_class_acc'"),
    ({"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau}, ValueError, "schedule needs validation images"),
    ({"schedule": TorchSchedule(torch.optim.lr_scheduler.StepLR, {"step_size": 0}), "max_epochs": 2}, ValueError,
     r"schedule .*settings=\{'step_size': 0\}"),
    ({"schedule": TorchSchedule(torch.optim.lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 2}, per="batch"),
      "max_epochs": 3}, ValueError, "schedule must last for 3 epochs of 2 batches, got settings=.*'total_steps': 2"),
    ({"optimizer": torch.optim.SparseAdam}, ValueError, "optimizer must be able to train this network, got .*Sparse"),
    ({"checkpoint": ""}, ValueError, "checkpoint must be the path of a folder, got checkpoint=''"),
    ({"checkpoint": "a\0b"}, ValueError, "checkpoint must be a folder that can be written to"),
    ({"ema": 1.0}, ValueError, "The 'ema' parameter"),
    ({"swa": 1.0}, ValueError, "The 'swa' parameter"),
    ({"validation_fraction": 0.2, "validation_data": (np.zeros((3, 8, 8)), [0, 1, 2])}, ValueError,
     "exclude each other: set one of them to None, got validation_fraction=0.2 and validation_data"),
    ({"module__foo": 3}, TypeError, r"^module has no argument foo: PatchNet takes in_channels, n_classes, hidden \("),
    ({"ema": 0.9, "swa": 0.5}, ValueError, "ema and swa exclude each other"),
    ({"tta": "rotate"}, ValueError, "tta must be None, 'mirror', 'shift' or .* got tta='rotate'"),
    ({"tta": ("mirror", "mirror")}, ValueError, "tta must be"),
    ({"tta": 3}, ValueError, "tta must be"),
    ({"tta_below": 1.1}, ValueError, r"'tta_below' parameter .* in the range \[0\.0, 1\.0\] or None\. Got 1\.1"),
    ({"tta_below": "auto"}, ValueError, "'tta_below' parameter"),
    ({"sam_rho": -0.1}, ValueError, "The 'sam_rho' parameter"),
    ({"gradient_clip": 0}, ValueError, "The 'gradient_clip' parameter"),
    ({"checkpoint": 3}, ValueError, "The 'checkpoint' parameter"),
    ({"checkpoint": "/dev/null/x"}, ValueError, "checkpoint must be a folder that can be written to, got checkpoint="),
    ({"checkpoint": "~nosuchuser/x"}, ValueError, "checkpoint must be a folder .*, got checkpoint='~nosuchuser/x'"),
    ({"checkpoint_every": 0}, ValueError, "The 'checkpoint_every' parameter"),
    ({"augment": RandomCrop(padding=10_001)}, ValueError, r"'padding' parameter of RandomCrop .* \[0, 10000\]"),
    ({"augment": [RandomCrop(padding=-1)]}, ValueError, "The 'padding' parameter of RandomCrop"),
    ({"augment": RandomCrop(only=[9])}, ValueError, r"only must name labels that occur in y \(\[0, 1, 2\]\)"),
]


@pytest.mark.parametrize(("params", "kind", "message"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_with_name_rule_and_value(params, kind, message, tiny_images):
    X, y = tiny_images()
    with pytest.raises(kind, match=message):
        net(max_epochs=1).set_params(**params).fit(X, y)


def test_the_augmentation_of_report_3_is_for_fashion_mnist(tiny_images):
    X, y = tiny_images(["bag", "coat"])
    with pytest.raises(ValueError, match="augment='report_3' is for Fashion-MNIST: y must hold the labels 0 to 9"):
        net(augment="report_3").fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(tiny_images):
    with pytest.raises(ValueError, match=r"device must name a device of this machine.*got device='cuda'"):
        net(device="cuda").fit(*tiny_images())


def test_a_subclass_cannot_lose_its_defaults():
    with pytest.raises(TypeError, match=r"Faster must annotate its new defaults \(lr\)"):
        class Faster(ImageClassifier):
            lr = 0.1

    class Annotated(ConvNetClassifier):
        lr: float = 0.5
        width: int = 3

    assert Annotated().lr == 0.5
    assert {"width", "architecture"} <= set(Annotated().get_params())
    assert repr(Annotated(lr=0.1)) == "Annotated(lr=0.1)"


def test_a_subclass_may_have_a_constructor_of_its_own(tiny_images):
    class Mine(ConvNetClassifier):
        def __init__(self, *, max_epochs=1, lr=0.01):
            super().__init__(max_epochs=max_epochs, lr=lr, architecture="4C3")

    X, y = tiny_images()
    assert clone(Mine(lr=0.02)).fit(X, y).predict(X).shape == (60,)


def test_unknown_names_are_refused(tiny_images):
    for params, advice in (({"hidden": 3}, "no parameter hidden"), ({"batchsize": 3}, "did you mean batch_size"),
                           ({"validation_split": 0.1}, "did you mean validation_fraction"),
                           ({"module__hidden": 3}, r"set_params\(module__hidden=3\)"),
                           ({"train_split": None}, "set validation_fraction")):
        with pytest.raises(TypeError, match=advice):
            ImageClassifier(**params)
    with pytest.raises(ValueError, match="Invalid parameter 'hidden'"):
        net().set_params(hidden=3)
    for estimator, name, meant in ((net(), "learning_rate", "lr"), (net(), "n_iter_no_change", "patience"),
                                   (DeepEnsembleClassifier(net()), "n_estimators", "n_members"),
                                   (RandomCrop(), "pading", "padding")):
        with pytest.raises(ValueError, match=f"Invalid parameter '{name}' for .*: did you mean {meant}[?]"):
            estimator.set_params(**{name: 1})
    with pytest.raises(ValueError, match="Invalid parameter 'train_split'"):
        net().set_params(train_split=None)
    with pytest.raises(ValueError, match="Invalid parameter 'iterator_train'"):
        net().set_params(iterator_train__shuffle=False)
    with pytest.raises(ValueError, match="optimizer_betas"):
        net().set_params(optimizer_betas=3).fit(*tiny_images())


def test_parts_of_a_name_cannot_be_set():
    with pytest.raises(ValueError, match="augment__p needs an object with parameters, got augment='fashion'; pass, .*"
                                         r"Preset\('fashion'\)"):
        net(augment="fashion").set_params(augment__p=0.1)
    with pytest.raises(ValueError, match=r"got augment='report_1'; pass, for example, Preset\('report_1'\)\."):
        net(augment="report_1").set_params(augment__p=0.1)
    with pytest.raises(ValueError, match=r"got augment=None; pass, for example, Preset\('fashion'\) or RandomCrop\(\)"):
        net(augment=None).set_params(augment__p=0.1)
    with pytest.raises(ValueError, match=r"got augment=\[RandomCrop\(\)\]; pass, for example, make_pipeline\("):
        net(augment=[RandomCrop()]).set_params(augment__randomcrop__padding=2)
    with pytest.raises(ValueError, match=r"schedule__factor needs an object with parameters, got schedule='cosine'; "
                                         r"pass, .*Exponential\(\)"):
        net().set_params(schedule="cosine", schedule__factor=0.1)
    with pytest.raises(ValueError, match="settings__step_size needs an object with parameters"):
        net(schedule=TorchSchedule(torch.optim.lr_scheduler.StepLR, {})).set_params(schedule__settings__step_size=2)
    assert net().set_params(augment=RandomCrop(), augment__padding=1).augment.padding == 1


def test_settings_of_the_optimizer_are_named(tiny_images):
    with pytest.raises(TypeError, match=r"^optimizer has no argument bettas: did you mean optimizer__betas\?"):
        net().set_params(optimizer__bettas=3).fit(*tiny_images())


def test_a_loss_that_is_no_number_ends_the_fit_and_leaves_the_best_weights(tiny_images):
    X, y = tiny_images()

    class Diverges(ImageClassifier):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) * (float("nan") if len(self.history_) == 4 else 1.0)

    classifier = Diverges(**net(validation_fraction=0.3).get_params(deep=False))
    with pytest.raises(ValueError, match=r"training loss became nan in epoch 4 with lr=0.01: lower lr"):
        classifier.fit(X, y)
    assert classifier.n_iter_ == len(classifier.history_) == 3
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_batch_normalisation_needs_two_images(tiny_images):
    X, y = tiny_images()
    with pytest.raises(ValueError, match="got one with batch_size=1: raise batch_size"):
        small("ResNetClassifier", batch_size=1).fit(X, y)
    with pytest.raises(ValueError, match="got one with batch_size=32: train on more images"):
        small("ResNetClassifier").partial_fit(X[:2], y[:2], classes=[0, 1, 2], sample_weight=[1, 0])


def test_classes_of_partial_fit_are_checked(tiny_images):
    X, y = tiny_images()
    with pytest.raises(ValueError, match="classes must name at least 2 classes"):
        net().partial_fit(X[y == 0], y[y == 0], classes=[0])
    with pytest.raises(ValueError, match="1d array"):
        net().partial_fit(X, y, classes=np.zeros((3, 2)))
    for classes in (3, np.array(3), "abc"):
        with pytest.raises(TypeError, match="classes must be a list or an array of labels, got classes="):
            net().partial_fit(X, y, classes=classes)
    with pytest.raises(ValueError, match="Input classes contains NaN"):
        net().partial_fit(X, y, classes=[0, 1, np.nan])
    with pytest.raises(TypeError, match=r"classes must be a list or an array .* got classes={.*of type set"):
        net().partial_fit(X, y, classes={0, 1, 2})


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_classes_of_a_later_partial_fit_are_those_of_the_first(first, tiny_images):
    X, y = tiny_images()
    classifier = getattr(net(max_epochs=1), first)(X, y)
    assert classifier.partial_fit(X, y, classes=[2, 1, 0]).classes_.tolist() == [0, 1, 2]
    for classes in ([0, 1, 2, 3], [0, 1], ["a", "b", "c"]):
        with pytest.raises(ValueError, match=re.escape(f"those of the first fit, [0, 1, 2], got {classes}")):
            classifier.partial_fit(X, y, classes=classes)
    assert classifier.n_iter_ == 2


def test_what_an_unfitted_net_assumes_of_its_images_is_checked():
    for shape in ((), ("a", "b"), (8,), (0, 8), 8):
        kind = "'image_shape' parameter" if shape == 8 else "image_shape must be .height, width. or .channels"
        for use in (summary, lambda unfitted: unfitted.initialize()):
            with pytest.raises(ValueError, match=kind):
                use(net(image_shape=shape))


@pytest.mark.parametrize("params", [{"momentum": np.float32(0.9)}, {"momentum": np.float64(0)},
                                    {"lr": np.float32(0.01)}, {"weight_decay": np.float32(1e-4)}])
def test_numbers_of_numpy_are_numbers(params, tiny_images):
    X, y = tiny_images()
    plain = {name: value.item() for name, value in params.items()}
    expected = net(max_epochs=1, optimizer="sgd", **plain).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(net(max_epochs=1, optimizer="sgd", **params).fit(X, y).predict_proba(X), expected, 1e-6)


@pytest.mark.parametrize(("batch_size", "n_images", "least", "message"), [
    (128, 512, 1, "batch_size=128 needs more memory than there is on cpu: try batch_size=64."),
    (128, 40, 1, "batch_size=128 needs more memory than there is on cpu: try batch_size=20."),
    (8, 32, 16, "batch_size=8 needs more memory than there is on cpu: try batch_size=4."),
    (1, 4, 1, "The network of .* needs more memory than there is on cpu: use a smaller one."),
    (128, 16, 16, "The network of .* needs more memory than there is on cpu: use a smaller one."),
])
def test_what_to_try_without_memory_is_less_than_now(batch_size, n_images, least, message):
    with pytest.raises(ValueError, match=message), enough_memory(net(batch_size=batch_size), n_images, least):
        raise MemoryError


def test_bad_weights_are_refused(tiny_images):
    X, y = tiny_images()
    for weights, message in ((-np.ones(60), "Negative values"), (np.ones(59), "sample_weight.shape"),
                             (-torch.ones(60), "non-negative"), (torch.ones(59), "one weight for each"),
                             (np.full(60, 1e308), "finite sum: .*, got 1e.308"),
                             ((y == 0).astype(float), "at least 2 classes"),
                             (np.zeros(60), "non-zero|at least 2 classes")):
        with pytest.raises(ValueError, match=message):
            net(max_epochs=1).fit(X, y, sample_weight=weights)


def test_prediction_errors(tiny_images):
    X, y = tiny_images()
    with pytest.raises(NotFittedError):
        net().predict(X)
    classifier = net(max_epochs=1).fit(X, y)
    with pytest.raises(TypeError, match="X must be an array, a DataFrame or a tensor, got a TensorDataset"):
        classifier.predict(torch.utils.data.TensorDataset(torch.from_numpy(X)))
    ensemble = DeepEnsembleClassifier(net(max_epochs=1), n_members=1).fit(X, y)
    convolutions = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    for use in (classifier.predict, ensemble.predict, lambda X: feature_maps(classifier, X),
                lambda X: grad_cam(convolutions, X), lambda X: grad_cam(convolutions, X, y)):
        with pytest.raises(TypeError, match=r"X must be an array, .* got a Bunch: pass its images as X"):
            use(Bunch(images=X, target=y))
        with pytest.raises(TypeError, match=r"X must be an array, .* got a dict: pass its images as X"):
            use({"x": X})
        with pytest.raises(TypeError, match="Sparse data"):
            use(scipy.sparse.dok_matrix(X.reshape(60, -1)))
    for shape in ((60, 7, 7), (60, 1, 7, 7), (60, 64)):
        with pytest.raises(ValueError, match=re.escape(f"network's shape (1, 8, 8), got shape {shape}")):
            classifier.predict({"x": torch.zeros(shape)})
    with pytest.raises(ValueError, match=re.escape("images of shape (1, 8, 8) (channels, height, width) as in fit")):
        classifier.predict(X.reshape(60, 4, 16))
    for images, got in ((X[:, :7, :7], "got (1, 7, 7)"), (X[0], "got one image of shape (8, 8): pass X[None]"),
                        (torch.from_numpy(X[0]), "got one image"), (np.stack([X] * 3, 1), "got (3, 8, 8)"),
                        (X[0].tolist(), "got one image"), (SharedImages(X[:, :7]), "got (1, 7, 8)")):
        with pytest.raises(ValueError, match=r"images of shape \(1, 8, 8\) .*" + re.escape(got)):
            classifier.predict(images)
    for images in (X.reshape(60, 64), X[:1], X[:, None]):
        assert len(classifier.predict(images)) == len(images)
    with pytest.raises(ValueError, match="49 features"):
        classifier.predict(X[:, :7, :7].reshape(60, 49))
    colour = np.stack([X] * 3, 1)
    of_colour = net(max_epochs=1).fit(colour, y)
    for images, got in ((colour[0], "got one image of shape (3, 8, 8): pass X[None]"),
                        (colour[0].transpose(1, 2, 0), "channels last: pass X.transpose(2, 0, 1)[None]"),
                        (torch.from_numpy(colour[0]).permute(1, 2, 0), "pass X.permute(2, 0, 1)[None]"),
                        (colour.transpose(0, 2, 3, 1), "X.permute(0, 3, 1, 2) for a tensor")):
        with pytest.raises(ValueError, match=re.escape(got) + r"\.$"):
            of_colour.predict(images)
    frame = pd.DataFrame(X.reshape(60, -1)).add_prefix("p")
    classifier.fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize("params", [
    *({"n_threads": value} for value in (0, 1025, 2.5, "x")),
    *({"precision": value} for value in ("x", [], None)),
    *({"batch_size": value} for value in (0, 2.5, "x", 2**63, Fraction(3))),
    *({"tta": value} for value in ("x", 3)), {"tta_below": -0.1}])
def test_parameters_set_after_a_fit_are_refused_as_by_it(params, tiny_images):
    X, y = tiny_images()
    classifier = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    extractor = FeatureExtractor(FrozenEstimator(classifier)).fit(X, y)
    classifier.set_params(**params)
    with pytest.raises((TypeError, ValueError), match=next(iter(params))) as expected:
        clone(classifier).fit(X, y)
    for predict in (classifier.predict, classifier.predict_proba, lambda X: classifier.score(X, y),
                    lambda X: next(classifier.forward_iter(X)), extractor.transform,
                    lambda X: feature_maps(classifier, X), lambda X: grad_cam(classifier, X, y)):
        with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
            predict(X)


@pytest.mark.parametrize(("name", "params"), [
    ("MLPMixerClassifier", {"patch_size": 16}), ("MLPMixerClassifier", {"patch_size": "x"}),
    ("ConvNetClassifier", {"architecture": "8C3-MP2-MP2-MP2-MP2-MP2"}), ("ConvNetClassifier", {"architecture": 3}),
    ("ResNetClassifier", {"stem": "8C3-MP2-MP2-MP2-MP2"}),
])
def test_parameters_of_the_network_set_after_a_fit_are_those_of_the_next(name, params, tiny_images):
    X, y = tiny_images()
    classifier = small(name, max_epochs=1).fit(X, y)
    expected = classifier.predict_proba(X)
    np.testing.assert_array_equal(classifier.set_params(**params).predict_proba(X), expected)
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(params))}|needs images of at least 16 x 16 pixels"):
        classifier.fit(X, y)


def test_a_failed_fit_leaves_no_half_fitted_net(tiny_images):
    X, y = tiny_images()
    classifier = net(max_epochs=1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(X, np.zeros(60))
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    assert classifier.initialize().module_(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    classifier = net(max_epochs=1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(X, np.zeros(60))
    pickle.loads(pickle.dumps(classifier)).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(X, y).fit(X, np.zeros(60))
    with pytest.raises(NotFittedError):
        pickle.loads(pickle.dumps(classifier)).predict(X)
    with pytest.raises(ValueError, match="one label for each of the 60 images, got 30"):
        classifier.fit(X, y).fit(X[:, :4, :4], y[:30])
    with pytest.raises(NotFittedError):
        classifier.predict(X[:, :4, :4])
    classifier = small("InceptionV3Classifier", weights="nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"there is no file at weights='nowhere.pth'"):
        classifier.fit(X, y)
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_the_number_of_orientations_is_limited():
    with pytest.raises(ValueError, match=r"'orientations' parameter of HOGTransformer .* \[1, 1000\]. Got 1001"):
        HOGTransformer(orientations=1001).fit(np.zeros((3, 28, 28)))


def test_image_shape_of_histograms_is_that_of_the_images():
    with pytest.raises(ValueError, match=r"image_shape must be the shape of X's images, \(1, 28, 28\)"):
        HOGTransformer(image_shape=(14, 56)).fit(np.zeros((3, 28, 28)))

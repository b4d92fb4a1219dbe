"""What must hold whatever is given.

A case either gives a valid result or a ValueError, TypeError or NotFittedError whose message says something; it never
changes what it was given, and ends soon.
"""
import contextlib
import copy
import hashlib
import os
import re
import resource
import signal
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from estimators import PatchNet
from sklearn.exceptions import NotFittedError

from fmnist_sk import load, save

SECONDS = 60            # after which a case hangs
REFUSALS = ValueError, TypeError, NotFittedError, FileNotFoundError       # the last for paths that lead nowhere
# What Python, NumPy and PyTorch say where nobody has looked before: it names no parameter.
UNHELPFUL = re.compile(r"\A(ufunc '|embedded null byte)|has no attribute|values to unpack|not supported between|"
                       r"invalid combination of|object is not (iterable|callable|subscriptable)|Internal error|"
                       r"open an issue|ambiguous|cannot be interpreted as|positional argument|must not be zero|"
                       r"unhashable")


class Failure(AssertionError):
    """Something that must never happen."""


def fingerprint(value):
    """A text that changes when what is given changes."""
    if isinstance(value, torch.Tensor):
        content = "" if value.is_meta or value.layout != torch.strided or not value.numel() else _digest(
            value.detach().resolve_neg().resolve_conj().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return f"{value.dtype} {value.layout} {value.shape} {value.requires_grad} {content}"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return f"{getattr(value, 'dtypes', None)} {value.index} {value.astype(object).to_numpy().tolist()}"
    if isinstance(value, np.ndarray):
        content = value.tolist() if value.dtype == object else _digest(np.ascontiguousarray(value))
        if np.ma.isMaskedArray(value):
            content = fingerprint(np.asarray(value)), fingerprint(np.ma.getmaskarray(value))
        return f"{value.dtype} {value.strides} {value.flags.writeable} {content}"
    return repr(value)


def _digest(array):
    return hashlib.sha1(array.tobytes()).hexdigest()


@contextlib.contextmanager
def no_file_beyond(size):
    """Within this context, writing fails that would make a file larger (bytes). Needs Linux."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1][1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[1])
        signal.signal(signal.SIGXFSZ, before[0])


@contextlib.contextmanager
def time_limit(seconds=SECONDS):
    def stop(*_):
        raise Failure(f"it hangs: more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(action, *given):
    """What an action returns, or its refusal as an exception; Failure for anything else that happens."""
    before = [fingerprint(value) for value in given]
    try:
        with warnings.catch_warnings(), time_limit():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DeprecationWarning)
            warnings.simplefilter("error", FutureWarning)
            result = action()
    except REFUSALS as error:
        message = str(error)
        if len(message) < 15 or not re.search(r"[a-z]{3}", message) or UNHELPFUL.search(message):
            raise Failure(f"an unhelpful message: {message!r}") from error
        result = error
    except Failure:
        raise
    except Exception as error:
        raise Failure(f"{type(error).__name__}: {error}") from error
    if [fingerprint(value) for value in given] != before:
        raise Failure("what was given has changed")
    return result


def made(case):
    """The estimator of a case; Refused in its place if its parameters could not even be set."""
    found = outcome(case.make)
    return Refused(found) if is_refusal(found) else found


class Refused:
    """An estimator that could not be made, whose fit says why."""

    def __init__(self, error):
        self.error = error

    def fit(self, *_, **__):
        raise self.error


def is_refusal(result):
    return isinstance(result, REFUSALS)


def check_probabilities(classifier, X, found):
    """Whether probabilities are those of images in X."""
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if found.shape != (n, len(classifier.classes_)):
        raise Failure(f"probabilities of shape {found.shape} for {n} images of {len(classifier.classes_)} classes")
    if not np.isfinite(found).all() or abs(found.sum(1) - 1).max() > 1e-4 or found.min() < 0:
        raise Failure(f"probabilities that are none: {found.min()} to {found.max()}, sums {found.sum(1).min()} to "
                      f"{found.sum(1).max()}")


def try_predict(classifier, X):
    """Use a fitted classifier; "valid" or the refusal."""
    found = outcome(lambda: classifier.predict_proba(X), X)
    if is_refusal(found):
        return found
    check_probabilities(classifier, X, found)
    labels = outcome(lambda: classifier.predict(X), X)
    if not np.isin(labels, classifier.classes_).all():
        raise Failure("labels that y did not hold")
    return "valid"


def try_fit(estimator, X, y, weights):
    """Fit and use an estimator; "valid" or the refusal."""
    extra = {} if weights is None else {"sample_weight": weights}
    takes_weights = hasattr(estimator, "predict")
    fitted = outcome(lambda: estimator.fit(X, y, **(extra if takes_weights else {})), X, y, *extra.values())
    if is_refusal(fitted):
        if takes_weights:       # of an epoch that was, or not at all
            found = outcome(lambda: estimator.predict_proba(X), X)
            if not is_refusal(found):
                check_probabilities(estimator, X, found)
        return fitted
    if fitted is not estimator:
        raise Failure("fit returned something else than the estimator")
    if takes_weights:
        found = try_predict(estimator, X)
        if is_refusal(found):
            raise Failure(f"X was good enough to fit, and is not to predict: {found}")
        return found
    found = outcome(lambda: estimator.transform(X), X) if hasattr(estimator, "transform") else \
        outcome(lambda: estimator.fit_resample(X, y), X, y)
    return found if is_refusal(found) else "valid"


def try_rest(estimator, X, y):
    """Fit a classifier, save and load it, go on with it; "valid" or a refusal."""
    found = try_fit(estimator, X, y, None)
    if is_refusal(found) or not hasattr(estimator, "predict_proba"):
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = outcome(lambda: save(estimator, Path(folder) / "model"))
        if not is_refusal(path):
            loaded = outcome(lambda: load(path, trusted=[PatchNet]))
            if is_refusal(loaded):
                raise Failure(f"what was saved cannot be loaded: {loaded}")
            if not np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X)):
                raise Failure("what was saved predicts something else when it is loaded")
    for name in ("partial_fit", "warm_start"):
        if hasattr(estimator, name):
            again = getattr(estimator, name) if name == "partial_fit" else estimator.set_params(warm_start=True).fit
            found = outcome(lambda again=again: again(X, y), X, y)
            if is_refusal(found):
                return found
            check_probabilities(estimator, X, outcome(lambda: estimator.predict_proba(X), X))
    return "valid"


def try_change(fitted, change, X):
    """Set parameters of a copy of a fitted classifier and use it; "valid" or the refusal. Then set them back."""
    classifier = copy.deepcopy(fitted)
    before, expected = classifier.get_params(), classifier.predict_proba(X)
    found = outcome(lambda: classifier.set_params(**change))
    if not is_refusal(found):
        found = try_predict(classifier, X)
    classifier.set_params(**{name: before[name] for name in change})
    again = outcome(lambda: classifier.predict_proba(X))
    if is_refusal(again) or not np.array_equal(again, expected):
        raise Failure(f"set back, the parameters do not lead to the same predictions: {again}")
    return found


def try_folder(estimator, make, X, y):
    """Fit a classifier whose checkpoint make(folder) names; "valid" or the refusal. Nothing is left elsewhere."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)        # that of relative paths
        try:
            return try_fit(estimator.set_params(checkpoint=make(Path(folder))), X, y, None)
        finally:
            os.chdir(before)

"""Whatever is given, the outcome is a valid result or a refusal that says something.

FMNIST_SK_FUZZ=1000 python -m pytest tests/test_fuzzing.py tries 7,000 cases.
"""
import functools
import os

import numpy as np
import pytest
from conftest import make_images
from estimators import CLASSIFIERS, small
from fuzzing import fingerprint, made, try_change, try_fit, try_folder, try_predict, try_rest
from generated import FOLDERS, changes, data, estimators, images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

N = int(os.environ.get("FMNIST_SK_FUZZ", "60"))
PREDICTING = "ConvNetClassifier", "InceptionV3Classifier", "DeepEnsembleClassifier"


def few(name):
    return small(name, max_epochs=2, **({"frozen_epochs": 1} if name == "InceptionV3Classifier" else {})) \
        if name in CLASSIFIERS else small(name).set_params(estimator__max_epochs=1)


@functools.cache
def fitted(name):
    return few(name).fit(*make_images())


def with_name(cases):
    """`cases` of a name, and the name."""
    return st.sampled_from(PREDICTING).flatmap(lambda name: st.tuples(st.just(name), cases(name)))


# what is generated, and what is tried with it
KINDS = {
    "data": (data(), lambda case: try_fit(small("ConvNetClassifier", max_epochs=1), *case.make())),
    "parameters": (estimators(), lambda case: try_fit(made(case), *make_images(n=24), None)),
    "data and parameters": (st.tuples(estimators(most=1), data()),
                            lambda case: try_fit(made(case[0]), *case[1].make())),
    "predictions": (with_name(lambda name: images()), lambda case: try_predict(fitted(case[0]), case[1].make())),
    "changes after a fit": (with_name(lambda name: changes(name, 2)),
                            lambda case: try_change(fitted(case[0]), case[1].make(), make_images()[0])),
    "saved, and further training": (estimators(most=2), lambda case: try_rest(made(case), *make_images(n=24))),
    "folders of checkpoints": (st.tuples(st.sampled_from(CLASSIFIERS), st.sampled_from(list(FOLDERS))),
                               lambda case: try_folder(few(case[0]), FOLDERS[case[1]], *make_images(n=24))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_ends_with_a_result_or_a_refusal(kind):
    strategy, try_case = KINDS[kind]
    many = settings(max_examples=N, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
                    database=None)
    many(given(strategy)(lambda case: try_case(case) and None))()


def test_a_changed_mask_is_a_change():
    array = np.ma.masked_equal(np.arange(4), 2)
    before = fingerprint(array)
    array.mask[0] = True
    assert fingerprint(array) != before

"""Whatever is given, the outcome is a valid result or a refusal that says something.

FMNIST_SK_FUZZ=2500 python -m pytest tests/test_fuzzing.py tries 10,000 cases.
"""
import os

import pytest
from estimators import small
from fuzzing import is_refusal, outcome, try_fit, try_predict
from generated import data, estimators, images
from hypothesis import HealthCheck, given, settings

N = int(os.environ.get("FMNIST_SK_FUZZ", "100"))
many = settings(max_examples=N, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@many
@given(data())
def test_images_labels_and_weights(case):
    try_fit(small("ConvNetClassifier", max_epochs=1), *case.make())


@many
@given(estimators())
def test_parameters(case):
    from conftest import make_images
    estimator = outcome(case.make)
    if not is_refusal(estimator):
        try_fit(estimator, *make_images(n=24), None)


@many
@given(estimators(most=1), data())
def test_every_estimator_on_every_data(case, data):
    estimator = outcome(case.make)
    if not is_refusal(estimator):
        try_fit(estimator, *data.make())


@pytest.fixture(scope="module")
def fitted():
    from conftest import make_images
    return small("ConvNetClassifier", max_epochs=1).fit(*make_images())


@many
@given(case=images())
def test_predictions(fitted, case):
    try_predict(fitted, case.make())

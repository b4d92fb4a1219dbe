"""Whatever is given, the outcome is a valid result or a refusal that says something.

FMNIST_SK_FUZZ=1000 python -m pytest tests/test_fuzzing.py tries 7,000 cases.
"""
import os

import numpy as np
import pytest
from fuzzing import fingerprint
from hypothesis import HealthCheck, given, settings
from kinds import KINDS

N = int(os.environ.get("FMNIST_SK_FUZZ", "30"))


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

"""Threads and processes that fit and predict at the same time."""
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from estimators import kinds_of_classifiers, small
from sklearn.base import clone


def fit_and_predict(classifier, X, y):
    return classifier.fit(X, y).predict_proba(X)


@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_one_model_predicts_in_many_threads_while_others_fit(name, tiny_images):
    X, y = tiny_images()
    shared = small(name, max_epochs=2).fit(X, y)
    parts = [X[start:start + 20] for start in range(0, 41, 4)]
    expected = [shared.predict_proba(part) for part in parts]
    other = small(name, max_epochs=3, augment="light", random_state=1)
    fitted = fit_and_predict(clone(other), X, y)
    with ThreadPoolExecutor(6) as pool:
        fits = [pool.submit(fit_and_predict, clone(other), X, y) for _ in range(3)]
        found = list(pool.map(shared.predict_proba, parts))
        for fit in fits:
            np.testing.assert_array_equal(fit.result(), fitted)
    for own, serial in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, serial)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_give_the_same_results(method, tiny_images):
    X, y = tiny_images(["bag", "coat"])
    classifier = small("ConvNetClassifier", max_epochs=3)
    expected = fit_and_predict(clone(classifier), X, y)
    fitted = clone(classifier).fit(X, y)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        fits = [pool.submit(fit_and_predict, classifier, X, y) for _ in range(2)]
        prediction = pool.submit(fitted.predict_proba, X)
        for found in (*fits, prediction):
            np.testing.assert_array_equal(found.result(timeout=120), expected)


AFTER_A_FORK = """
import multiprocessing, sys
import numpy as np
import torch
from fmnist_sk import ConvNetClassifier, FeatureExtractor, SharedImages, save

X, y = np.random.default_rng(0).integers(0, 256, (256, 28, 28), dtype=np.uint8), np.arange(256) % 2
net = ConvNetClassifier(architecture="16C3-MP2-16N", max_epochs=1, n_threads=4, random_state=0).fit(X, y)

def work(_):
    SharedImages(torch.rand(20_000, 28, 28))
    save(net, sys.argv[1])
    features.transform(torch.rand(4_000, 28, 28))
    return net.predict_proba(X).tolist() == expected and net.fit(X, y).score(X, y)

features = FeatureExtractor(net).fit(X, y)
expected = net.predict_proba(X).tolist()
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(work, range(4)).get(timeout=60))
"""


def test_a_fork_after_work_with_several_threads_does_not_hang(tmp_path):
    done = subprocess.run([sys.executable, "-c", AFTER_A_FORK, str(tmp_path / "model.safetensors")],
                          capture_output=True, text=True, timeout=100,
                          env={"PATH": "", "OMP_NUM_THREADS": "4"})
    assert done.returncode == 0, done.stderr

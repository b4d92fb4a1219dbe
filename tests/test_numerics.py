"""Numbers that are none, precision, batches, memory."""
import subprocess
import sys

import numpy as np
import pytest
from estimators import CLASSIFIERS, kinds_of_classifiers, small
from fashion import real_data
from torch.optim.lr_scheduler import LambdaLR

from fmnist_sk import TorchSchedule, load_fashion_mnist, load_pretrained


def explodes(epoch):
    """Factors of the learning rate."""
    return 1e30 if epoch == 4 else 1.0


@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_a_fit_that_explodes_says_when_and_why_and_keeps_the_best_weights(name, tiny_images):
    X, y = tiny_images()
    schedule = TorchSchedule(LambdaLR, {"lr_lambda": explodes})
    classifier = small(name, validation_fraction=0.3, max_epochs=8, optimizer="sgd", schedule=schedule)
    with pytest.raises(ValueError, match=r"loss became (nan|inf) in epoch \d with \w*lr=.*: lower \w*lr, .*precision"):
        classifier.fit(X, y)
    history = classifier.history_
    best = max(range(len(history)), key=lambda epoch: (history[epoch, "valid_acc"], -epoch))
    assert classifier.best_epoch_ == best + 1
    assert np.isfinite(classifier.predict_proba(X)).all()
    parameters = [p.detach().numpy() for p in classifier.module_.parameters()]
    assert all(np.abs(values).max() < 100 for values in parameters)


@pytest.mark.parametrize("name", kinds_of_classifiers())
def test_bfloat16_and_float32_agree(name, tiny_images):
    """After two epochs, when no probability is near 1; Inception's weights, which are drawn, are another matter."""
    X, y = tiny_images()
    classifier = small(name, max_epochs=2, precision="fp32").fit(X, y)
    exact = classifier.predict_proba(X)
    rounded = classifier.set_params(precision="bf16").predict_proba(X)
    assert not np.array_equal(rounded, exact)
    if name != "InceptionV3Classifier":
        np.testing.assert_allclose(rounded, exact, atol=0.005)
    scores = [small(name, precision=precision).fit(X, y).score(X, y) for precision in ("bf16", "fp32")]
    assert min(scores) > 0.9


@real_data
def test_bfloat16_and_float32_agree_on_real_images():
    """To 0.1 of a probability, as README says."""
    images = load_fashion_mnist("train").images[:6000]
    rounded, exact = (load_pretrained().set_params(precision=name).predict_proba(images) for name in ("bf16", "fp32"))
    np.testing.assert_allclose(rounded, exact, atol=0.1)
    assert (rounded.argmax(1) == exact.argmax(1)).mean() > 0.995


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_predictions_are_the_same_for_every_batch_size(name, precision, tiny_images):
    X, y = tiny_images()
    classifier = small(name, precision=precision, max_epochs=2).fit(X, y)
    whole = classifier.predict_proba(X)
    for batch_size in (1, 7, 16, 60, 1000):
        np.testing.assert_array_equal(classifier.set_params(batch_size=batch_size).predict_proba(X), whole)


@pytest.mark.filterwarnings("ignore:X holds values from")
@pytest.mark.parametrize("name", kinds_of_classifiers())
def test_pixels_that_overflow_are_named(name, tiny_images):
    X, y = tiny_images()
    classifier = small(name, max_epochs=2, standardize=False).fit(X / np.float32(255), y)
    huge = np.random.default_rng(0).choice(np.float32([3.4e38, -3.4e38]), (5, 8, 8))
    with pytest.raises(ValueError, match=r"X must hold values that the network can compute with, got pixels from "
                                         r"-3.4e\+38 to 3.4e\+38; those of the training images range from 0 to 0.8"):
        classifier.predict(huge)


LIMITED = """
import resource, sys
import numpy as np
from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, RandomCrop

class Wasteful(RandomCrop):
    def _apply(self, x, *args):
        return x.repeat(100, 1, 1, 1)[:len(x)]

X, y = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), dtype=np.uint8), np.arange(4000) % 2
net = ConvNetClassifier(architecture="64C3-64C3-MP2-4N", max_epochs=1, batch_size=32, random_state=0, precision="fp32")
fitted = net.fit(X[:64], y[:64])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
net.set_params(batch_size=4000)
augmented = ConvNetClassifier(architecture="4N", augment=Wasteful(), batch_size=4000)
large = ConvNetClassifier(architecture="6500N-6500N")
for action in (lambda: net.predict(X), lambda: DeepEnsembleClassifier(net, together=True).fit(X, y),
               lambda: net.fit(X, y), lambda: augmented.fit(X, y), lambda: large.fit(X, y)):
    try:
        action()
    except ValueError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (limit + 300 * 2**20, resource.RLIM_INFINITY))  # for what fragments hold
net.set_params(batch_size=32).fit(X[:320], y[:320])
print("goes on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_without_memory_a_smaller_batch_or_network_is_proposed():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.stdout.splitlines() == 4 * [
        "batch_size=4000 needs more memory than there is on cpu: try batch_size=2000."] + [
        "The network of ConvNetClassifier(architecture='6500N-6500N') needs more memory than there is on cpu: use a "
        "smaller one.", "goes on"], done.stderr


@pytest.mark.parametrize("params", [{}, {"validation_fraction": 0.3}])
def test_a_fit_whose_last_step_explodes_says_so(params, tiny_images):
    X, y = tiny_images()
    classifier = small("ConvNetClassifier", max_epochs=1, lr=1e30, batch_size=100, **params)
    what = r"(network's outputs became infinite or NaN|validation loss became \w+)"
    with pytest.raises(ValueError, match=what + r" in epoch 1 with lr=1e\+30: lower lr"):
        classifier.fit(X, y)
    with pytest.raises(ValueError, match=r"trained on: its last fit went wrong\. Fit it again with lr below 1e\+30"):
        classifier.predict(X)


def test_a_further_fit_that_explodes_leaves_the_weights_of_the_one_before(tiny_images):
    X, y = tiny_images()
    classifier = small("ConvNetClassifier", max_epochs=3, validation_fraction=0.3, warm_start=True).fit(X, y)
    before, best = classifier.predict_proba(X), classifier.best_epoch_
    with pytest.raises(ValueError, match=r"loss became \w+ in epoch 4"):
        classifier.set_params(lr=1e30).fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert classifier.best_epoch_ == best

"""How networks use the CPU: its threads and its memory. Only fits of a third of a second give memory back."""
import os
import platform
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from estimators import small
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk import FeatureExtractor, ImageClassifier, feature_maps, grad_cam
from fmnist_sk._runtime.cpu import n_processors

SCRIPT = """
import resource
import numpy as np
from fmnist_sk import ConvNetClassifier
from fmnist_sk._runtime import cpu

mallopt, cpu._mallopt = cpu._mallopt, None
X, y = np.random.default_rng(0).integers(0, 256, (256, 28, 28), dtype=np.uint8), np.arange(256) % 10
net = ConvNetClassifier(architecture="32C3-MP2-16N", max_epochs=20, random_state=0, n_threads=1).fit(X, y)
for cpu._mallopt in (None, mallopt):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    net.fit(X, y)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * resource.getpagesize())
"""

STARVED = """
import os, sys, warnings
import numpy as np, torch
from skorch.callbacks import Callback, GradientNormClipping
from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier
from fmnist_sk._runtime import cpu
from fmnist_sk._training import watch

class Threads(Callback):
    def on_epoch_begin(self, net, **kwargs):
        print(torch.get_num_threads())

torch.set_num_threads(2)
watch.WINDOW = watch.PAUSE = 0.2
X, y = np.random.default_rng(0).integers(0, 256, (400, 28, 28), dtype=np.uint8), np.arange(400) % 10
def net(callbacks=(), **params):
    return ConvNetClassifier(architecture="32C3-MP2-16N", callbacks=[Threads, *callbacks], verbose=0, **params)

net = eval(sys.argv[1])
all_of_them = os.sched_getaffinity(0)
cpu.n_processors = lambda: 2            # another program has one, and the affinity does not say so
for thread in map(int, os.listdir("/proc/self/task")):      # both threads on one processor: each is in the other's way
    os.sched_setaffinity(thread, {min(all_of_them)})
with warnings.catch_warnings(record=True) as caught:
    net.fit(X, y)
print(torch.get_num_threads())
print(*[w.message for w in caught])
"""


def test_threads_are_as_before_after_whatever_was_set(tiny_images):
    X, y = tiny_images()
    for n_threads in (1, np.int64(1)):
        small("ConvNetClassifier", max_epochs=1, n_threads=n_threads).fit(X, y)
    for n_threads in (0, 10**6, 1.5, True):
        with pytest.raises(ValueError, match="The 'n_threads' parameter"):
            small("ConvNetClassifier", n_threads=n_threads).fit(X, y)
    assert torch.get_num_threads() == 1
    seen = []
    tells = type("Tells", (Callback,), {"on_epoch_begin": lambda *_, **__: seen.append(torch.get_num_threads())})()
    small("ConvNetClassifier", max_epochs=1, n_threads=2, callbacks=[tells]).fit(X, y)
    assert seen == [2]
    assert torch.get_num_threads() == 1


def test_a_fit_keeps_its_threads_when_another_net_computes_within_it(tiny_images):
    X, y = tiny_images()
    other, seen = small("ConvNetClassifier", max_epochs=1, n_threads=1).fit(X, y), []

    class Asks(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(torch.get_num_threads())
            other.predict(X)

    small("ConvNetClassifier", max_epochs=3, n_threads=2, callbacks=[Asks()]).fit(X, y)
    assert seen == [2, 2, 2]
    assert torch.get_num_threads() == 1


def test_steps_of_a_user_are_watched_without_a_fit(tiny_images, monkeypatch):
    X, y = tiny_images()
    monkeypatch.setattr("fmnist_sk._training.watch.WINDOW", 0.0)
    monkeypatch.setattr("fmnist_sk._training.watch.STARVED", 2.0)      # of every step it is said that it waits
    monkeypatch.setattr("fmnist_sk._training.watch.seconds_in_queue", lambda: None)
    net = ImageClassifier(module=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    net.partial_fit(X, y)
    batch = next(iter(net.get_iterator(net.get_dataset(X, y), training=True)))
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match=r"Others use the processors: .* Set n_threads=1, or fewer than now"):
            net.train_step(batch)
        assert torch.get_num_threads() == 2         # they are the user's, outside a fit
    finally:
        torch.set_num_threads(1)


def test_steps_that_wait_for_something_else_are_not_kept_by_other_programs(tiny_images, monkeypatch):
    X, y = tiny_images()
    slept = [0.0]

    def sleep():
        time.sleep(0.02)
        slept[0] += 0.02

    class Waits(Callback):
        def on_grad_computed(self, net, **kwargs):
            sleep()

    class WaitsInside(nn.Flatten):
        def forward(self, x):
            sleep()
            return super().forward(x)

    def fit(queue, *callbacks):
        monkeypatch.setattr("fmnist_sk._training.watch.seconds_in_queue", queue)
        ImageClassifier(module=nn.Sequential((nn.Flatten if callbacks else WaitsInside)(), nn.Linear(64, 3)),
                        callbacks=list(callbacks), max_epochs=3, n_threads=2).fit(X, y)

    monkeypatch.setattr("fmnist_sk._training.watch.WINDOW", 0.01)
    monkeypatch.setattr("fmnist_sk._training.watch.time", SimpleNamespace(
        monotonic=time.monotonic, thread_time=lambda: time.monotonic() - slept[0]))     # as on an idle machine
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(lambda: None, Waits())                      # the system does not say whether threads wait for processors
        fit(lambda: 0.0)                                # none does
    with pytest.warns(UserWarning, match="Others use the processors"):
        fit(time.monotonic)                             # one does all the time


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the system does not say it")
def test_how_long_threads_wait_for_a_processor():
    code = """
import os, threading, time
from fmnist_sk._runtime.cpu import seconds_in_queue
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
before = seconds_in_queue()
time.sleep(0.5)
print(seconds_in_queue() - before)
child = os.fork()                   # both want one processor
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
if child:
    print(seconds_in_queue() - before)
    os.wait()
"""
    asleep, busy = map(float, output_of(code))
    assert asleep < 0.1
    assert busy > 0.25


@pytest.mark.parametrize("limit", ["", "abc", "1.5"])
def test_a_bad_limit_of_joblib_is_named(limit, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", limit)
    with pytest.raises(ValueError, match=f"LOKY_MAX_CPU_COUNT must be a whole number above 0, got '{limit}'"):
        n_processors()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_memory_stays_with_a_fit_and_goes_back_after_it():
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}                      # as in workers of Dask
    out = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    faults_without, resident_without, faults, resident = map(int, out.stdout.split())
    assert faults < faults_without / 4
    assert resident < resident_without + 30 * 2**20


def output_of(code, *arguments, **environment):
    others = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.run([sys.executable, "-c", code, *arguments], env={**others, **environment}, capture_output=True,
                          text=True, check=True).stdout.splitlines()


needs_two = pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
                               reason="needs two processors, and a system that pins threads to one")


@needs_two
def test_features_and_maps_are_computed_with_the_threads_of_the_network(tiny_images, monkeypatch):
    X, y = tiny_images()
    net, seen = small("ConvNetClassifier", max_epochs=1, n_threads=2).fit(X, y), []
    features = FeatureExtractor(FrozenEstimator(net)).fit(X, y)
    net.module_.register_forward_hook(lambda _, args, out: seen.append(torch.get_num_threads()) if len(out) > 16 else 0)
    features.transform(X)
    feature_maps(net, X)
    grad_cam(net, X)
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1


@needs_two
def test_processors_that_are_taken_away_later_are_not_counted():
    code = """
import os
from fmnist_sk._runtime.cpu import n_processors
print(n_processors() > 1)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(n_processors())
"""
    assert output_of(code) == ["True", "1"]


@needs_two
def test_no_more_threads_than_processors_that_the_process_may_use():
    code = """
import os, sys
import numpy as np, torch
from skorch.callbacks import Callback
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from fmnist_sk import ConvNetClassifier

class Threads(Callback):
    def on_epoch_begin(self, net, **kwargs):
        print(torch.get_num_threads())

torch.set_num_threads(2)            # as PyTorch counts processors in a container
X, y = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8), np.arange(20) % 2
for n_threads in (None, 2):
    ConvNetClassifier(architecture="4C3-8N", max_epochs=1, n_threads=n_threads, callbacks=[Threads]).fit(X, y)
print(torch.get_num_threads())
"""
    assert output_of(code) == ["1", "1", "2"]


@needs_two
@pytest.mark.parametrize(("params", "goes_on_with_fewer"), [
    ("net(max_epochs=8)", True), ("net(max_epochs=1, random_state=0)", False),
    ("net(max_epochs=1, n_threads=2)", False),
    ("net(max_epochs=1, random_state=0, callbacks=[GradientNormClipping()])", False),
    ("net(max_epochs=1, random_state=0, teacher=net(max_epochs=1))", False),
    ("net(max_epochs=1, teacher=net(max_epochs=8))", True),
    ("DeepEnsembleClassifier(net(max_epochs=4), n_members=2)", True),
    ("DeepEnsembleClassifier(net(max_epochs=1), n_members=2, random_state=0, together=True)", False)])
def test_a_fit_whose_threads_are_kept_from_the_processors_says_so_and_may_go_on_with_fewer(params, goes_on_with_fewer):
    *threads, after, warning = output_of(STARVED, params)
    assert after == "2"
    assert "Others use the processors: 2 threads" in warning
    if goes_on_with_fewer:
        assert "1" in threads
        assert "continues with 1" in warning
    else:
        assert set(threads) == {"2"}
        assert "Set n_threads=1" in warning

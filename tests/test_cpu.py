"""How networks use the CPU's memory. Only fits that take a third of a second give it back."""
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from estimators import small
from skorch.callbacks import Callback

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


def test_threads_are_as_before_after_whatever_was_set(tiny_images):
    X, y = tiny_images()
    for n_threads in (1, np.int64(1), True):
        small("ConvNetClassifier", max_epochs=1, n_threads=n_threads).fit(X, y)
    for n_threads in (0, 10**6, 1.5):
        with pytest.raises(ValueError, match="The 'n_threads' parameter"):
            small("ConvNetClassifier", n_threads=n_threads).fit(X, y)
    assert torch.get_num_threads() == 1
    seen = []
    tells = type("Tells", (Callback,), {"on_epoch_begin": lambda *_, **__: seen.append(torch.get_num_threads())})()
    small("ConvNetClassifier", max_epochs=1, n_threads=2, callbacks=[tells]).fit(X, y)
    assert seen == [2]
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_memory_stays_with_a_fit_and_goes_back_after_it():
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}                      # as in workers of Dask
    out = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    faults_without, resident_without, faults, resident = map(int, out.stdout.split())
    assert faults < faults_without / 4
    assert resident < resident_without + 30 * 2**20

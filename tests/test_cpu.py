"""How networks use the CPU's memory."""
import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from fmnist_sk import ConvNetClassifier, _cpu

if sys.argv[1] == "without":
    _cpu._mallopt = None
X, y = np.random.default_rng(0).integers(0, 256, (256, 28, 28), dtype=np.uint8), np.arange(256) % 10
net = ConvNetClassifier(architecture="32C3-MP2-16N", max_epochs=1, random_state=0, n_threads=1).fit(X, y)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
net.fit(X, y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
del net

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

blocks = [np.ones(2**20, dtype=np.uint8) for _ in range(300)]
full = resident()
del blocks
print(full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_memory_stays_with_a_fit_and_goes_back_after_it():
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}                      # as in workers of Dask
    faults = {}
    for how in ("with", "without"):
        out = subprocess.run([sys.executable, "-c", SCRIPT, how], env=environment, capture_output=True, text=True,
                             check=True).stdout.split()
        faults[how], returned = map(int, out)
        assert returned > 200 * 2**20
    assert faults["with"] < faults["without"] / 4

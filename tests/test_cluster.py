"""A cluster that loses workers."""
import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest

from fmnist_sk.cluster import dask_backend


@pytest.mark.parametrize(("params", "message"), [
    ({"scatter": np.zeros(3)}, r"scatter must be a list of arrays, such as \[X, y\], got ndarray"),
    ({"client": "tcp://x"}, "client must be a distributed.Client, got 'tcp://x'"),
])
def test_settings_that_do_not_fit(params, message):
    with pytest.raises(TypeError, match=message):
        dask_backend(**params)


def test_needs_a_client():
    with pytest.raises(ValueError, match="first create a Dask Client"):
        dask_backend()


def test_what_only_a_lost_worker_had_is_sent_again(tmp_path):
    from distributed import Client, LocalCluster

    begun, killed = tmp_path / "begun", tmp_path / "killed"

    def work(X, rows, i):                                   # local, so that it is sent whole
        begun.touch()
        while not killed.exists():
            time.sleep(0.05)
        return X[rows].sum() + i

    X, rows = np.arange(1000), np.arange(0, 1000, 2)
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, silence_logs=50) as cluster, \
            Client(cluster) as client:
        def kill():
            while not begun.exists():
                time.sleep(0.05)
            for pid in client.run(os.getpid).values():
                lost.append(pid)
                os.kill(pid, signal.SIGKILL)
            killed.touch()

        lost, killer = [], threading.Thread(target=kill)
        killer.start()
        with joblib.parallel_config(dask_backend([X])):
            found = joblib.Parallel()(joblib.delayed(work)(X, rows, i) for i in range(4))
        killer.join()
    assert len(lost) == 1
    assert found == [X[::2].sum() + i for i in range(4)]

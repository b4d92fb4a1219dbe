"""Searches and ensembles on a Dask cluster that can lose workers."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fmnist_sk._runtime.optional import optional


def dask_backend(scatter: Sequence = (), client=None):
    """joblib's Dask backend, with data that survive the loss of the worker that holds them.

    ``with joblib.parallel_config(dask_backend([X, y])): search.fit(X, y)`` runs the fits of any scikit-learn search or
    ensemble on the cluster of a ``distributed.Client``. joblib's own ``parallel_config("dask")`` does so too, but keeps
    the data sent with the tasks, such as the rows of a fold, on one worker: if that worker is lost, the search fails.
    Here the scheduler keeps all data and can send them again; a worker receives them once, however many fits it runs.

    Parameters
    ----------
    scatter : list or tuple of arrays
        Data that are sent once, before the first task; they must be the very objects passed to fit.
    client : distributed.Client
        The cluster's client. Default: the most recently created one.

    Returns
    -------
    joblib backend
        For ``joblib.parallel_config``.

    Raises
    ------
    ImportError
        Without the extra ``fmnist_sk[dask]``.
    ValueError
        If there is no client.
    TypeError
        Unless `scatter` is a list or tuple and `client` a Client.
    """
    distributed = optional("distributed", "Clusters are accessed through", "dask")
    if not isinstance(scatter, (list, tuple)):
        raise TypeError(f"scatter must be a list of arrays, such as [X, y], got {type(scatter).__name__}.")
    if not isinstance(client, (distributed.Client, type(None))):
        raise TypeError(f"client must be a distributed.Client, got {client!r}.")
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        client: Any

        def __init__(self, client=None, scatter=None, **settings):
            super().__init__(client=client, **settings)
            self.client = _Giving(self.client)
            self._scatter = list(scatter or ())                    # keeps their ids
            self.data_futures = dict(zip(map(id, self._scatter), self.client.scatter(self._scatter), strict=True))

        def get_nested_backend(self):               # for parallel work within a task
            return Backend(client=self.client._client), -1

        def __reduce__(self):
            return dask_backend, ()

    return Backend(client=client, scatter=scatter)


class _Giving:
    """A client that scatters data as tasks, which the scheduler repeats if a lost worker held their results."""

    def __init__(self, client):
        self._client = client

    def scatter(self, data, asynchronous=False, **settings):
        import dask
        from tlz import identity
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            futures = [self._client.submit(identity, value, pure=False) for value in
                       (data if isinstance(data, list) else [data])]
        found = futures if isinstance(data, list) else futures[0]
        return _later(found) if asynchronous else found

    def __getattr__(self, name):
        return getattr(self._client, name)


async def _later(value):
    return value

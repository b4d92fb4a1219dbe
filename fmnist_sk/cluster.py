"""Searches and ensembles on a Dask cluster that may lose workers."""
from __future__ import annotations

from collections.abc import Sequence

from fmnist_sk._files import optional


def dask_backend(scatter: Sequence = (), client=None):
    """joblib's Dask backend, whose data outlive the worker that holds them.

    ``with joblib.parallel_config(dask_backend([X, y])): search.fit(X, y)`` runs the fits of any scikit-learn search or
    ensemble on the cluster of a ``distributed.Client``. joblib's own ``parallel_config("dask")`` does so too, but puts
    what it sends with the tasks, such as the rows of a fold, on one worker each: if that is lost, the search fails.
    Here every worker gets all of it, once.

    Parameters
    ----------
    scatter : arrays that are sent to all workers before the first task, the very objects that are passed to fit
    client : distributed.Client
        Default: the one that was made last.

    Needs the extra ``fmnist_sk[dask]``. Raises ImportError without it, ValueError if there is no client.
    """
    optional("distributed", "Clusters are reached through", "dask")
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def __init__(self, client=None, scatter=None, **settings):
            super().__init__(client=client, scatter=scatter, **settings)
            self.client = _Broadcasting(self.client)

        def get_nested_backend(self):               # for what a task computes in parallel
            return Backend(client=self.client._client), -1

        def __reduce__(self):
            return dask_backend, ()

    return Backend(client=client, scatter=list(scatter))


class _Broadcasting:
    """A client that scatters to all workers."""

    def __init__(self, client):
        self._client = client

    def scatter(self, data, **settings):
        return self._client.scatter(data, **{**settings, "broadcast": True})

    def __getattr__(self, name):
        return getattr(self._client, name)

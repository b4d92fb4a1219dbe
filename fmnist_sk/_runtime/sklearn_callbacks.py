"""scikit-learn's callbacks (sklearn.callback), new in version 1.9; older versions have none."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    class CallbackSupportMixin:
        """An estimator whose fit reports its progress to callbacks."""

        def _init_callback_context(self, **settings: Any) -> Any: ...

    def with_callbacks(fit: Function) -> Function:
        """The same function, with callbacks set up before it and torn down after it."""
        return fit
else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:
        class CallbackSupportMixin:
            def _init_callback_context(self, **settings) -> NoTask:
                return NoTask()

        def with_callbacks(fit):
            return fit


class NoTask:
    """A task of a fit that is not reported to callbacks."""

    def subcontext(self, **settings: Any) -> Self:
        return self

    def call_on_fit_task_begin(self, **arguments: Any) -> Self:
        return self

    def call_on_fit_task_end(self, **arguments: Any) -> bool:
        return False


@contextmanager
def one_task(estimator: CallbackSupportMixin, X: Any, y: Any) -> Iterator[None]:
    """Context for the body of a fit that is reported to callbacks as a whole. The fit needs `with_callbacks`."""
    task = estimator._init_callback_context()
    task.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield
    task.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes=dict)

"""scikit-learn's callbacks (sklearn.callback), which came with version 1.9; before it estimators have none."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    class CallbackSupportMixin:
        """An estimator whose fit tells callbacks where it stands."""

        def _init_callback_context(self, **settings: Any) -> Any: ...

    def with_callbacks(fit: Function) -> Function:
        """The same function, around which callbacks are set up and torn down."""
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
    """A task of a fit that no callback is told of."""

    def subcontext(self, **settings: Any) -> Self:
        return self

    def call_on_fit_task_begin(self, **arguments: Any) -> Self:
        return self

    def call_on_fit_task_end(self, **arguments: Any) -> bool:
        return False

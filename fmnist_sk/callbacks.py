"""This package's skorch callbacks."""
from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

from skorch.callbacks import PrintLog

_COLUMNS = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc")


class ProgressLog(PrintLog):
    """One line per epoch: losses and accuracies, the learning rate, the seconds it took and the time remaining.

    Other scores in the history follow, except the accuracies of single classes. On a terminal, unless the environment
    variable NO_COLOR is set, the best value so far in each column is coloured. Printed if the classifier's `verbose` is
    at least 1. Parameters as in skorch's PrintLog; output to a `sink` other than print is never coloured.
    """

    def on_train_begin(self, net, **kwargs):
        super().on_train_begin(net, **kwargs)
        self.first_epoch_ = len(net.history)

    def on_epoch_end(self, net, **kwargs):
        if not net.verbose and self.sink is print:
            return
        durations = [row["dur"] for row in net.history[self.first_epoch_:] if "dur" in row]
        fit = getattr(net, "_fit", None)                   # None for a net of skorch's own
        remaining = (net.max_epochs if fit is None else fit.epochs) - (len(net.history) - self.first_epoch_)
        self.remaining_ = sum(durations) / max(1, len(durations)) * remaining
        super().on_epoch_end(net, **kwargs)

    def table(self, row: Mapping[str, Any]) -> str:
        return super().table({**row, "remaining": self.remaining_})

    def format_row(self, row: Mapping[str, Any], key: str, color: str) -> str:
        if key in ("dur", "remaining"):
            return format_seconds(row[key])
        if key == "epoch":
            return str(row[key])
        if self.sink is not print or not _shows_colours():
            row = {key: row[key]}                       # without the mark of the best value
        return super().format_row(row, key, color)

    def _sorted_keys(self, keys: Collection[str]) -> list[str]:
        keys = [key for key in super()._sorted_keys(keys) if "_class_acc_" not in key]
        last = ["lr", "dur", "remaining"]
        return [*(key for key in _COLUMNS if key in keys),
                *(key for key in keys if key not in (*_COLUMNS, *last)),
                *(key for key in last if key in keys)]


def _shows_colours() -> bool:
    """Whether standard output is a terminal whose user wants colours (https://no-color.org)."""
    is_terminal = getattr(sys.stdout, "isatty", bool)           # it may have been replaced by any object
    return is_terminal() and not os.environ.get("NO_COLOR")


def format_seconds(seconds: float) -> str:
    """3.2s, 1m05s, 2h04m."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"

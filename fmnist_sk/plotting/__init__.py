"""Plots of training, results, networks and data, in the style of scikit-learn's Display classes.

``Display.from_estimator(...)`` or ``Display.from_predictions(...)`` draws into `ax` or a new figure and returns the
display; nothing is shown or saved. Displays with several panels accept one `ax` and divide its area. The colours are
colour-blind-friendly. Only this module needs matplotlib (the extra ``fmnist_sk[plot]``); without it, drawing raises
ImportError.
"""
from fmnist_sk.plotting.data import AugmentationDisplay, EmbeddingDisplay
from fmnist_sk.plotting.evaluation import ClassAccuracyDisplay, ComparisonDisplay, ReliabilityDisplay
from fmnist_sk.plotting.mistakes import ConfusionDisplay, MistakesDisplay
from fmnist_sk.plotting.network import FeatureMapsDisplay, FiltersDisplay, GradCAMDisplay
from fmnist_sk.plotting.training import ClassHistoryDisplay, HistoryDisplay, ScheduleDisplay

__all__ = [
    "AugmentationDisplay",
    "ClassAccuracyDisplay",
    "ClassHistoryDisplay",
    "ComparisonDisplay",
    "ConfusionDisplay",
    "EmbeddingDisplay",
    "FeatureMapsDisplay",
    "FiltersDisplay",
    "GradCAMDisplay",
    "HistoryDisplay",
    "MistakesDisplay",
    "ReliabilityDisplay",
    "ScheduleDisplay",
]

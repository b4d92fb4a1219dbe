"""Pictures of trainings, results, networks and data, in the manner of scikit-learn's Display classes.

``Display.from_estimator(...)`` or ``Display.from_predictions(...)`` draws into `ax`, or a new figure, and returns the
display; nothing is shown or saved. Displays of several panels take one `ax`, whose place they divide. Colours are told
apart with any kind of colour vision. matplotlib is needed only here: the extra ``fmnist_sk[plot]``; without it drawing
raises ImportError.
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

"""The rows of reference_systems.py: what each is, with which seeds it is trained, and what its runs are worth."""
import math
from statistics import mean

from _measure import text_of

from fmnist_sk import CLASS_NAMES, AugmentedCopies, reference_system, reference_systems, summary
from fmnist_sk.augmentation import Preset, as_transformers
from fmnist_sk.reference import OUR_RECIPE

CLOSE = 0.3         # percent points: so much below a figure it counts as reached, and a second seed tells more
CHANCE = 0.2        # of ten classes: a network with less has learned nothing
STUCK = 0.1         # so much less than with another seed, and a network is stuck
CODES = {name: code for code, name in enumerate(CLASS_NAMES)}


def fits_of(system):
    """The settings of a system, those with the same parameters together: figures of one fit."""
    fits = {}
    for setting, changes in system.settings.items():
        fits.setdefault(repr(changes), []).append(setting)
    return list(fits.values())


def table():
    """(system, setting) -> what its row says whether it was run or not, in the order of the reports.

    Figures of one fit, such as its accuracies on several classes, are one row.
    """
    rows = {}
    for name, system in reference_systems().items():
        for settings in fits_of(system) or [[None]]:                    # one was planned, but never run
            rows[name, settings[0]] = {
                "system": name, "setting": settings[0], "report": system.source,
                "reported": {other: system.reported[other] for other in settings if other in system.reported},
                "epochs_planned": reference_system(name, settings[0]).max_epochs, "status": "not run", "runs": []}
    return rows


def names_of(row):
    """All settings whose figures are those of this row's fit, such as its accuracies on single classes."""
    return next((names for names in fits_of(reference_systems()[row["system"]]) if row["setting"] in names), [])


def kind_of(row):
    """"ours", "reported", or "other": tried in a report that has no figure of it, or another reading."""
    return "ours" if row["setting"] == OUR_RECIPE else "reported" if row["reported"] or not row["setting"] else "other"


def is_of_validation(row):
    return (row["setting"] or "").startswith("validation")


def classifier_of(row, **params):
    return reference_system(row["system"], row["setting"], **params)


def settings_of(row):
    classifier = classifier_of(row)
    augment = classifier.augment
    steps = as_transformers(augment) if isinstance(augment, (str, Preset)) else ""     # what the name stands for today
    return " ".join([text_of(classifier), *str(steps).split()])


def work(row, n_images):
    """Multiply-adds of a fit, for the remaining time: three passes forward for a step."""
    classifier = classifier_of(row)
    if isinstance(classifier.augment, AugmentedCopies):
        n_images *= 1 + classifier.augment.fraction
    return 3 * int(summary(classifier).loc["total", "multiply_adds"]) * n_images * row["epochs_planned"]


def stands(run, row, minutes):
    """Whether a run need not be repeated: it is whole, or had as much time as it would have now.

    So not if a call without --resume was to repeat it and was interrupted.
    """
    had_time = run["epochs"] == row["epochs_planned"] or (minutes or math.inf) <= (run["minutes"] or math.inf)
    return had_time and "begun_anew" not in run and "lr_of_epochs" in run


def longest_runs(row):
    """Those with the most epochs: a compressed one of another seed does not count beside a whole one."""
    most = max((run["epochs"] for run in row["runs"]), default=0)
    return [run for run in row["runs"] if run["epochs"] == most]


def of_one_class(name):
    """(code, measure) if a setting's figure is of one class, such as "augmented, Shirt, precision"; else None."""
    setting, precise, _ = name.partition(", precision")
    code = CODES.get(setting.rpartition(", ")[2])
    return None if code is None else (code, "precision" if precise else "accuracy")


def accuracies(row, of=None):
    """Those of a row's runs that its report has, on validation or test images: of all classes, or `of_one_class`."""
    part = "valid" if is_of_validation(row) else "test"
    if of is None:
        return [run[f"{part}_accuracy"] for run in longest_runs(row)]
    code, measure = of
    return [run[f"{part}_{measure}_of_each_class"][code] for run in longest_runs(row)]


def learned(row):
    """Of each run, whether it learned as others do: some seeds stay at chance or get stuck later."""
    found = accuracies(row)
    return [accuracy > max(CHANCE, max(found, default=0) - STUCK) for accuracy in found]


def reached(row, of=None):
    """Mean over the seeds, in percent: of those that `learned`, unless none did."""
    found = accuracies(row, of)
    return 100 * mean([one for one, has in zip(found, learned(row), strict=True) if has] or found)


def epochs(row):
    if not row["runs"]:
        return ""
    trained, planned = longest_runs(row)[0]["epochs"], row["epochs_planned"]
    return str(planned) if trained == planned else f"{trained} of {planned}"


def seeds_of(row):
    """The seeds that a row is to be trained with."""
    name = "valid_accuracy" if is_of_validation(row) else "test_accuracy"
    figure = next(iter(row["reported"].values()), None)
    if row["system"] == "cnn_1" and kind_of(row) != "ours":
        return [0, 1, 2]
    close = figure is not None and any(abs(100 * run[name] - figure) <= CLOSE for run in row["runs"])
    return [0, 1] if close else [0]


def status(row):
    """What may be said of a row: complete, how far it came, or why it was not run."""
    if not row["runs"]:
        return row["status"] if row["status"].startswith("not run") else "not run"
    done, planned = longest_runs(row)[0]["epochs"], row["epochs_planned"]
    return "complete" if done == planned else f"schedule compressed from {planned} into {done} epochs"


def name_of(key, seed):
    return f"{key[0]}, {key[1] or 'as planned'}, seed {seed}"

"""The tables of what reference_systems.py has measured."""
from math import sqrt
from statistics import mean

from _reference_rows import CLOSE, classifier_of, is_of_validation, names_of
from _tables import is_cuda, is_there, load, machines, percent, revisions
from choose_reference_recipes import accuracies as of_candidates
from choose_reference_recipes import longest

from fmnist_sk import CLASS_NAMES

CHANCE = 0.2        # of ten classes: a network with less has learned nothing
CODES = {name: code for code, name in enumerate(CLASS_NAMES)}


def longest_runs(row):
    """Those with the most epochs: a compressed one of another seed does not count beside a whole one."""
    most = max((run["epochs"] for run in row["runs"]), default=0)
    return [run for run in row["runs"] if run["epochs"] == most]


def accuracies(row, code=None):
    """Those of a row's runs that its report has, on validation or test images: of all classes, or of one."""
    part = "valid_accuracy" if is_of_validation(row) else "test_accuracy"
    if code is None:
        return [run[part] for run in longest_runs(row)]
    return [run[f"{part}_of_each_class"][code] for run in longest_runs(row)]


def learned(row):
    """Of each run, whether it learned anything: some seeds stay at chance."""
    return [accuracy > CHANCE for accuracy in accuracies(row)]


def reached(row, code=None):
    """Mean over the seeds, in percent: of those that learned, unless none did."""
    found = accuracies(row, code)
    return 100 * mean([one for one, has in zip(found, learned(row), strict=True) if has] or found)


def measured(row, code=None):
    """What a row of reference_systems.json reached, in percent, on all classes or on one.

    Each seed is by itself where one stayed at chance.
    """
    runs = longest_runs(row)
    if not runs:
        return row["status"]
    text = percent(accuracies(row, code)) if all(learned(row)) else " / ".join(each_seed(row))
    text += " val" * is_of_validation(row) + "*" * any(map(is_cuda, runs))
    return text if runs[0]["epochs"] == row["epochs_planned"] else f"({text})"


def is_other(row):
    """Whether a report tried this, but has no figure of it."""
    return not row["reported"] and row["setting"] not in ("our recipe", None)


def caption(rows):
    """What the table of all systems shows, and where it was measured: lines of a paragraph and a list."""
    rows = [row for row in rows if not is_other(row)]
    runs = [run for row in rows for run in row["runs"]]
    begun = [row for row in rows if row["runs"]]
    early = [row for row in begun if row["status"] != "complete"]
    lines = [f"**The systems of five reports** ({len(begun) - len(early)} of {len(rows)} rows complete), which [the "
             "guide](../guide/networks.md#networks-of-five-reports) introduces. Figures are accuracies in percent on "
             "the test images or, marked \"val\", on those training images that the report holds out for validation. "
             "Where no deviation is given, there is one seed "
             f"({machines(runs, mark='*')}; {revisions(runs)}).", "",
             "- *Same settings* are those of the report where it states them, and choices of ours, listed in "
             "`fmnist_sk.reference`, where it does not. The epoch with the best validation accuracy counts, or the "
             "last if no images are held out or the report ends with the last.",
             "- Where a report does not say how long it trained, it is the best of 50 epochs, or in report 3 of the "
             "285 that make the 250,000 steps of its final network. In fewer epochs, that report's learning rate goes "
             "through the same 25 values.",
             "- *Our recipe* is the same architecture, report 0's with batch normalisation. Its settings were chosen "
             "on held-out images (below) or, for systems that are not in that table, by hand. It is trained on all "
             "60,000 training images to the last epoch, and averages predictions over ten views. Its figures are of "
             "the test images, also where the report's are of validation images.", *of_report_0(rows)]
    if early:
        places = {}
        for row in early:
            for run in row["runs"]:
                if run["epochs"] < row["epochs_planned"]:
                    minutes = run["minutes"] * (1 if is_cuda(run) else run["fits_at_once"])
                    places.setdefault(minutes, set()).add(where_of(run))
        limits = " or ".join(f"{minutes:g} minutes on {' or '.join(sorted(where))}"
                             for minutes, where in sorted(places.items()))
        lines.append(f"- In brackets: a fit that would have taken more than {limits} has fewer epochs, into which its "
                     "schedule is compressed.")
    return lines


def of_report_0(rows):
    """Its times beside those here, as an item of a list."""
    taken = {}
    for row in rows:
        if row["report"] == "report 0" and (row["setting"] or "").startswith("extended"):
            for run in row["runs"]:
                taken.setdefault(row["system"], []).append((run["fit_seconds"] / 3600, run["epochs"], where_of(run)))
    here = [f"{epochs} epochs of {system} took {hours:.1f} hours on {where}"
            for system, runs in taken.items() for hours, epochs, where in (max(runs),)]
    return ["- Report 0 trained 1.5 to 2 hours for 50 epochs of its extended dataset, and 16.6 hours for 100 of its "
            f"larger network, on a free cloud GPU. Here, {' and '.join(here)}."] if here else []


def reference():
    """The table of all systems, and report 1's own."""
    if not is_there("reference_systems"):
        return []
    rows = load("reference_systems")["rows"]
    lines = ["", *caption(rows), "",
             "| system | setting | reported | same settings here | epochs | our recipe | epochs |",
             "|---|---|---|---|---|---|---|"]
    ours = {row["system"]: row for row in rows if row["setting"] == "our recipe"}
    for row in rows:
        if row["setting"] == "our recipe" or is_other(row) or (
                row["report"] == "report 1" and "tuned" not in row["setting"] and row["setting"] != "softmax"):
            continue                            # the rest of report 1 has a table of its own
        our = ours.pop(row["system"], None)
        reported = next(iter(row["reported"].values()), None)
        lines.append(f"| {row['system']} | {row['setting'] or 'as planned'} | "
                     f"{'' if reported is None else f'{reported:.2f}'}{' val' * is_of_validation(row)} | "
                     f"{measured(row)} | {epochs(row)} | " + (f"{measured(our)} | {epochs(our)} |" if our else "| |"))
    return lines + below(rows) + recipes() + of_report_1(rows) + of_single_classes(rows) + others(rows)


def epochs(row):
    if not row["runs"]:
        return ""
    trained, planned = longest_runs(row)[0]["epochs"], row["epochs_planned"]
    return str(planned) if trained == planned else f"{trained} of {planned}"


def below(rows):
    """A list of the figures that are clearly below what was reported, with the reason if it is known.

    The best of the test images' accuracies is not one of them: nothing is chosen by the test images here.
    """
    lines = []
    for row in rows:
        for name, reported in row["reported"].items() if row["runs"] else ():
            code = CODES.get(name.rpartition(", ")[2])
            difference = reached(row, code) - reported
            if difference < -CLOSE and name != "best test epoch":
                why = of_few_images(row, code) if code is not None else \
                    REASONS.get(row["system"], lambda *_: "the reason is not known")(row, rows)
                trained = "" if row["status"] == "complete" else f", in {epochs(row)} epochs"
                lines.append(f"- {row['system']}, {name} ({difference:+.2f}{trained}): {why}.")
    return ["", f"With the reports' settings, these figures are more than {CLOSE} points below what was reported:",
            "", *lines, "",
            "Not measured is the 89.84 of patch_mlp in the epoch with the best test accuracy: nothing is chosen by "
            "test images here."] if lines else []


def recipes():
    """How our recipes were chosen."""
    if not is_there("choose_reference_recipes"):
        return []
    runs = load("choose_reference_recipes")["runs"]
    lines = ["", "**Our recipes** were chosen by `choose_reference_recipes.py`. The accuracy, in percent, is that on "
             "6,000 held-out training images after the same number of epochs, with one seed; its standard error is "
             "about 0.3 points. The number of epochs was set by the time they take.", "",
             "| system | training images, epochs | recipes compared | best | accuracy | plain SGD |",
             "|---|---|---|---|---|---|"]
    for system, own in longest(runs).items():
        found = of_candidates(own)
        best, plain = next(iter(found)), found.get("SGD")
        lines.append(f"| {system} | {own[0]['images']:,}, {own[0]['epochs']} | {len(found)} | {best} | "
                     f"{100 * found[best]:.2f} | {'' if plain is None else f'{100 * plain:.2f}'} |")
    return lines


def of_few_images(row, code):
    """How far chance moves the accuracy on one class."""
    n = round(classifier_of(row).validation_fraction * 6_000) if is_of_validation(row) else 1_000
    accuracy = reached(row, code) / 100
    return (f"with {n:,} images of the class, this accuracy and the report's each have a standard error of "
            f"{100 * sqrt(accuracy * (1 - accuracy) / n):.1f} points")


def of_patch_mlp(row, rows):
    """What other readings of report 4 reach, which ends with a training loss of 0.11."""
    run = longest_runs(row)[0]
    text = f"its training loss ends at {run['train_loss_of_epochs'][-1]:.2f}, the report's at 0.11"
    if "train_acc_of_epochs" in run:
        text += f"; its training accuracy at {100 * run['train_acc_of_epochs'][-1]:.2f} %, the report's at 96.11"
    readings = {other["setting"]: other for other in rows if other["system"] == row["system"] and other["runs"]}
    if other := readings.get("constant learning rate"):
        run = longest_runs(other)[0]
        last = [100 * accuracy for accuracy in run["valid_acc_of_epochs"][-10:]]
        text += (". With a constant learning rate, another reading of the report, it ends at "
                 f"{run['train_loss_of_epochs'][-1]:.2f}, with a test accuracy of {reached(other):.2f} %. There the "
                 f"accuracy on 1,000 held-out images ranged from {min(last):.1f} to {max(last):.1f} % within the last "
                 "ten epochs, so the figure of a last epoch may be off by as much")
    if other := readings.get("pixels standardised"):
        text += f". With standardised pixels, a third reading, the test accuracy is {reached(other):.2f} %"
    if other := readings.get("all training images, float32"):
        text += (f". In float32, and trained on all 60,000 images, it has {reached(other):.2f} % of the test images "
                 f"and {100 * longest_runs(other)[0]['train_acc_of_epochs'][-1]:.2f} % of the training images, the "
                 "report's 96.11")
    tried = [readings[name] for name in READINGS if name in readings]
    if tried and all(reached(other) < row["reported"]["last epoch"] - CLOSE for other in tried):
        text += ". No reading that was tried explains the difference"
    return text


def of_second_cnn(row, _):
    """What is known of the larger network of report 0."""
    run = longest_runs(row)[0]
    rates, best = run["lr_of_epochs"], run["best_epoch"]
    text = "the report's figure of its architecture is lost, so all but the numbers of its maps are ours"
    return text + (f"; here its best validation epoch is {best}, before the learning rate falls, which gains nothing"
                   if rates[best - 1] == rates[0] else "")


READINGS = "constant learning rate", "pixels standardised", "all training images, float32"       # of report 4
REASONS = {"patch_mlp": of_patch_mlp, "second_cnn_48_96": of_second_cnn}


def of_report_1(rows):
    """Its table of architecture, loss and augmentation, with times."""
    cells = {(row["system"], row["setting"]): row for row in rows if row["report"] == "report 1"}
    settings = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
    table = []
    for name in dict.fromkeys(system for system, _ in cells):
        own = [cells[name, setting] for setting in settings]
        times = {}
        for run in (run for row in own for run in row["runs"]):
            times.setdefault(f"{where_of(run)}, {run['arithmetic']}", []).append(run["seconds_per_epoch"])
        if times:
            seconds = "; ".join(f"{sum(all_) / len(all_):.0f} ({where})" for where, all_ in times.items())
            table.append(f"| {name} | " + " | ".join(f"{next(iter(row['reported'].values())):.2f}, {cell(row)}"
                                                     for row in own) + f" | {seconds} |")
    if not table:
        return []
    return ["", "Report 1's table of architectures, losses and augmentation. Each cell has the accuracy as reported "
            "and as measured here. Seconds are rough, because other work ran at the same time; the report's own are "
            "20 for cnn_1 and 32 for cnn_5, on a GeForce 1050 Ti. Where there are three seeds, each is shown"
            + (", and one that stayed at chance too" if any(not all(learned(cells[key])) for key in cells) else "")
            + ".", "",
            f"| | {' | '.join(settings)} | seconds per epoch |",
            f"|{'---|' * (len(settings) + 2)}", *table]


def where_of(run):
    return run["gpu"] if is_cuda(run) else f"{run['torch_threads']} core{'s' * (run['torch_threads'] > 1)}"


def cell(row):
    """What is in report 1's table, where some seeds may stay at chance."""
    return " / ".join(each_seed(row)) if len(longest_runs(row)) > 1 else measured(row)


def each_seed(row):
    """What the seeds of a row reached, each for itself."""
    return [percent([accuracy]) for accuracy in accuracies(row)]


def of_single_classes(rows):
    """The accuracies on single classes that reports have."""
    lines = []
    for row in rows:
        for name, figure in row["reported"].items():
            if (code := CODES.get(name.rpartition(", ")[2])) is not None:
                lines.append(f"| {row['system']} | {row['setting']} | {CLASS_NAMES[code]} | {figure:.2f} | "
                             f"{measured(row, code)} |")
    return ["", "The reports' accuracies on single classes, and those with the same settings here:", "",
            "| system | setting | class | reported | same settings here |", "|---|---|---|---|---|", *lines]


def others(rows):
    """What reports tried without a figure, or other readings of what they say."""
    tried = {row["system"] for row in rows if is_other(row) and row["runs"]}
    lines = []
    for row in rows:        # a figure of its own may also be one of several that were tried, such as that of p = 0.3
        names = [row["setting"]] if is_other(row) else [
            name for name in names_of(row) if name.startswith("validation, p") and row["system"] in tried]
        lines += [f"| {row['system']} | {name} | {measured(row)} |" for name in names if row["runs"]]
    rows = [row for row in rows if is_other(row)]
    lines = ["", "Settings tried in a report that gives no figure for them, and other readings of a report:", "",
             "| system | setting | here |", "|---|---|---|", *lines] if lines else []
    return lines + not_run([row for row in rows if not row["runs"]])


def not_run(rows):
    """A sentence that names rows, those of systems with the same settings together."""
    settings, systems = {}, {}
    for row in rows:
        settings.setdefault(row["system"], []).append(f'"{row["setting"]}"')
    for system, names in settings.items():
        systems.setdefault(", ".join(names), []).append(system)
    text = "; ".join(f"{names} of {', '.join(own)}" for names, own in systems.items())
    return ["", f"Of these settings, not run yet: {text}."] if rows else []

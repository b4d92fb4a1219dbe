"""README's tables of what reference_systems.py has measured."""
from statistics import mean

from _tables import is_cuda, is_there, load, machines, percent, revisions
from choose_reference_recipes import accuracies as of_candidates
from choose_reference_recipes import longest

from fmnist_sk import CLASS_NAMES

CLEARLY = 0.3       # percent points, within which a figure counts as reached


REPORTS = """
Five reports on Fashion-MNIST, written by students and for challenges, say what this package has to reach
([what they say, one by one](examples/benchmarks/reports.md)):

- report 0 compares two small CNNs, with and without batch normalisation and an extended dataset of mirrored copies;
- report 1 compares five CNNs, each with softmax and with sigmoid outputs, with and without augmentation;
- report 2 is a set of Keras notebooks: a CNN of four layers, a residual network, and transfer learning that was only
  planned;
- report 3 compares two plain CNNs and three with residual and Inception blocks, augmentations and losses, for a
  program that names garments before a camera;
- report 4 trains one network of dense layers on patches of 4 x 4 pixels.
"""


def is_of_validation(row):
    return (row["setting"] or "").startswith("validation")


def accuracies(row):
    """Those of a row's runs that its report has: on validation or test images."""
    return [run["valid_accuracy" if is_of_validation(row) else "test_accuracy"] for run in row["runs"]]


def reached(row):
    return 100 * mean(accuracies(row))


def measured(row):
    """What a row of reference_systems.json reached, in percent."""
    if not row["runs"]:
        return row["status"]
    text = percent(accuracies(row))
    text += " val" * is_of_validation(row) + "*" * any(map(is_cuda, row["runs"]))
    return text if row["status"] == "complete" else f"({text}: {row['status']})"


def is_other(row):
    """Whether a report tried this, but has no figure of it."""
    return not row["reported"] and row["setting"] not in ("our recipe", None)


def caption(rows):
    """What the table of all systems shows, and where it was measured."""
    rows = [row for row in rows if not is_other(row)]
    runs = [run for row in rows for run in row["runs"]]
    begun = [row for row in rows if row["runs"]]
    early = [row for row in begun if row["status"] != "complete"]
    parts = [f"**The systems of five reports** ({len(begun) - len(early)} of {len(rows)} rows complete), of one seed "
             "where no deviation is given. Test accuracy in percent; \"val\" is accuracy on the report's share of "
             "validation images."]
    if early:
        limits = sorted({(run["minutes"], run["torch_threads"]) for row in early for run in row["runs"]})
        limits = " or ".join(f"{minutes:g} minutes of {cores} core{'s' * (cores > 1)}" for minutes, cores in limits)
        parts.append(f"In brackets: a fit that would have taken more than {limits} has fewer epochs, into which its "
                     "schedule is compressed.")
    parts.append("*Same settings*: as far as the report states them, with the best validation epoch, or the last one "
                 "if none are held out; where it does not say how long it trained, the best of 50 epochs, augmented "
                 "as strongly as we thought fit where it does not say how. *Our recipe*: the same architecture, "
                 "report 0's with batch normalisation, with settings chosen on held-out images (below) or, of the "
                 "systems that are not in that table, by hand; 60,000 training images, the last epoch, predictions "
                 "that are means over ten views "
                 f"({machines(runs, mark='*')}; {revisions(runs)}).")
    return " ".join(parts)


def reference():
    """The table of all systems, and report 1's own."""
    if not is_there("reference_systems"):
        return []
    rows = load("reference_systems")["rows"]
    lines = [*REPORTS.splitlines(), "", caption(rows), "",
             "| system | setting | reported | same settings here | epochs | our recipe | epochs |",
             "|---|---|---|---|---|---|---|"]
    ours = {row["system"]: row for row in rows if row["setting"] == "our recipe"}
    for row in rows:
        if row["setting"] == "our recipe" or is_other(row) or (
                row["report"] == "report 1" and "tuned" not in row["setting"] and row["setting"] != "softmax"):
            continue                            # the rest of report 1 has a table of its own
        our = ours.pop(row["system"], None)
        if row["status"] == "not run" and not (our and our["runs"]):
            continue
        reported = next(iter(row["reported"].values()), None)
        lines.append(f"| {row['system']} | {row['setting'] or 'as planned'} | "
                     f"{'' if reported is None else f'{reported:.2f}'}{' val' * is_of_validation(row)} | "
                     f"{measured(row)} | {epochs(row)} | " + (f"{measured(our)} | {epochs(our)} |" if our else "| |"))
    return lines + below(rows) + recipes() + of_report_1(rows) + of_single_classes(rows) + others(rows)


def epochs(row):
    return str(row["epochs_planned"]) if row["runs"] else ""


def below(rows):
    """A list of the complete rows whose accuracy is clearly below what was reported, with what is known of the reason.
    """
    lines = []
    for row in rows:
        reported = next(iter(row["reported"].values()), None)
        if row["status"] == "complete" and reported is not None and reached(row) < reported - CLEARLY:
            why = REASONS[row["system"]](row, rows) if row["system"] in REASONS else "why was not found out"
            lines.append(f"- {row['system']}, {row['setting']} ({reached(row) - reported:+.2f}): {why}.")
    return ["", f"At the reports' settings these are more than {CLEARLY} points below what was reported:", "",
            *lines] if lines else []


def recipes():
    """How our recipes were chosen."""
    if not is_there("choose_reference_recipes"):
        return []
    runs = load("choose_reference_recipes")["runs"]
    lines = ["", "**Our recipes** were chosen by `choose_reference_recipes.py`: accuracy in percent on 6,000 held-out "
             "training images after the same number of epochs.", "",
             "| system | training images, epochs | recipes compared | best | accuracy | plain SGD |",
             "|---|---|---|---|---|---|"]
    for system, own in longest(runs).items():
        found = of_candidates(own)
        best, plain = next(iter(found)), found.get("SGD")
        n_recipes = len({run["settings"] for run in own})
        lines.append(f"| {system} | {own[0]['images']:,}, {own[0]['epochs']} | {n_recipes} | {best} | "
                     f"{100 * found[best]:.2f} | {'' if plain is None else f'{100 * plain:.2f}'} |")
    return lines


def of_patch_mlp(row, rows):
    """What other readings of report 4 come to, which ends with a training loss of 0.11."""
    text = f"it ends with a training loss of {row['runs'][0]['train_loss_of_epochs'][-1]:.2f}, the report's with 0.11"
    readings = {other["setting"]: other for other in rows if other["system"] == row["system"] and other["runs"]}
    if other := readings.get("constant learning rate"):
        run = other["runs"][0]
        last = [100 * accuracy for accuracy in run["valid_acc_of_epochs"][-10:]]
        text += (". With a constant learning rate, another reading, it ends with "
                 f"{run['train_loss_of_epochs'][-1]:.2f} and {reached(other):.2f} % of the test images; there the "
                 f"accuracy on 1,000 held-out images went from {min(last):.1f} to {max(last):.1f} % within the last "
                 "ten epochs, so the figure of a last epoch may be off by as much")
    if other := readings.get("pixels standardised"):
        text += f". With standardised pixels, a third reading, {reached(other):.2f} % are right"
    return text


REASONS = {"patch_mlp": of_patch_mlp}


def of_report_1(rows):
    """Its table of architecture, loss and augmentation, with times."""
    cells = {(row["system"], row["setting"]): row for row in rows if row["report"] == "report 1"}
    settings = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
    table = []
    for name in dict.fromkeys(system for system, _ in cells):
        own = [cells[name, setting] for setting in settings]
        times = {}
        for run in (run for row in own for run in row["runs"]):
            where = run["gpu"] if is_cuda(run) else \
                f"{run['torch_threads']} core{'s' * (run['torch_threads'] > 1)}, {run['arithmetic']}"
            times.setdefault(where, []).append(run["seconds_per_epoch"])
        if times:
            seconds = "; ".join(f"{sum(all_) / len(all_):.0f} ({where})" for where, all_ in times.items())
            table.append(f"| {name} | " + " | ".join(f"{next(iter(row['reported'].values())):.2f}, {each_seed(row)}"
                                                     for row in own) + f" | {seconds} |")
    if not table:
        return []
    return ["", "Report 1's table of architectures, losses and augmentation, each cell as reported and as measured "
            "here (rough seconds, with other work beside; the report's own are 20 for cnn_1 and 32 for cnn_5, on a "
            "GeForce 1050 Ti):", "", f"| | {' | '.join(settings)} | seconds an epoch |",
            f"|{'---|' * (len(settings) + 2)}", *table]


def each_seed(row):
    """What a row reached, each seed for itself: some stay at chance."""
    if len(row["runs"]) < 2 or row["status"] != "complete":
        return measured(row)
    return " / ".join(percent([accuracy]) for accuracy in accuracies(row))


def of_single_classes(rows):
    """The accuracies on single classes that reports have."""
    codes = {name: code for code, name in enumerate(CLASS_NAMES)}
    lines = []
    for row in rows:
        figures = {name.rpartition(", ")[2]: figure for name, figure in row["reported"].items()}
        figures = {name: figure for name, figure in figures.items() if name in codes}
        if not figures or not row["runs"]:
            continue
        part = "valid_accuracy_of_each_class" if is_of_validation(row) else "test_accuracy_of_each_class"
        cells = [f"{name} {figure:g}, {percent([run[part][codes[name]] for run in row['runs']])}"
                 for name, figure in figures.items()]
        lines.append(f"| {row['system']} | {row['setting']} | {'; '.join(cells)} |")
    if not lines:
        return []
    return ["", "The reports' accuracies on single classes, each as reported and as measured here:", "",
            "| system | setting | |", "|---|---|---|", *lines]


def others(rows):
    """What reports tried without a figure, or other readings of what they say."""
    rows = [row for row in rows if is_other(row) and row["runs"]]
    lines = [f"| {row['system']} | {row['setting']} | {measured(row)} |" for row in rows]
    return ["", "Tried in a report that has no figure of it, or another reading of what it says:", "",
            "| system | setting | here |", "|---|---|---|", *lines] if lines else []

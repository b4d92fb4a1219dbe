"""README's tables of what reference_systems.py has measured."""
from statistics import mean

from _tables import is_cuda, is_there, load, machines, percent, revisions

CLEARLY = 0.2       # percent points, within which a figure counts as reached


def is_of_validation(row):
    return next(iter(row["reported"]), "").startswith("validation")


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


def caption(rows):
    """What the table of all systems shows, and where it was measured."""
    runs = [run for row in rows for run in row["runs"]]
    begun = [row for row in rows if row["runs"]]
    early = [row for row in begun if row["status"] != "complete"]
    parts = [f"**The systems of five reports** ({len(begun) - len(early)} of {len(rows)} rows complete), of one seed "
             "where no deviation is given. Test accuracy in percent; \"val\" is accuracy on the report's share of "
             "validation images."]
    if early:
        limits = sorted({(run["minutes"], run["torch_threads"]) for row in early for run in row["runs"]})
        limits = " or ".join(f"{minutes:g} minutes of {cores} core{'s' * (cores > 1)}" for minutes, cores in limits)
        parts.append(f"In brackets: a fit that would have taken more than {limits} ended after the first epochs, and "
                     "reproduces nothing.")
    parts.append("*Same settings*: as far as the report states them, with the best validation epoch, or the last one "
                 "if none are held out; where it does not say how long it trained, the best of 50 epochs, augmented "
                 "as strongly as we thought fit where it does not say how. *Our recipe*: the same "
                 "architecture, report 0's with batch normalisation, the four-layer CNN with less dropout, "
                 "simple_model_2 with dropout and erasing; 60,000 training images, the last epoch, predictions that "
                 "are means over ten views "
                 f"({machines(runs, mark='*')}; {revisions(runs)}).")
    return " ".join(parts)


def reference():
    """The table of all systems, and report 1's own."""
    if not is_there("reference_systems"):
        return []
    rows = load("reference_systems")["rows"]
    lines = ["", caption(rows), "",
             "| system | setting | reported | same settings here | epochs | our recipe | epochs |",
             "|---|---|---|---|---|---|---|"]
    ours = {row["system"]: row for row in rows if row["setting"] == "our recipe"}
    for row in rows:
        if row["setting"] == "our recipe" or (row["report"] == "report 1" and "tuned" not in row["setting"]
                                              and row["setting"] != "softmax"):
            continue                            # the rest of report 1 has a table of its own
        our = ours.pop(row["system"], None)
        if row["status"] == "not run" and not (our and our["runs"]):
            continue
        reported = next(iter(row["reported"].values()), None)
        lines.append(f"| {row['system']} | {row['setting'] or 'as planned'} | "
                     f"{'' if reported is None else f'{reported:.2f}'}{' val' * is_of_validation(row)} | "
                     f"{measured(row)} | {epochs(row)} | " + (f"{measured(our)} | {epochs(our)} |" if our else "| |"))
    return lines + below(rows) + of_report_1(rows)


def epochs(row):
    return str(row["epochs_planned"]) if row["runs"] else ""


def below(rows):
    """A sentence that names complete rows whose accuracy is clearly below what was reported."""
    found = []
    for row in rows:
        reported = next(iter(row["reported"].values()), None)
        if row["status"] == "complete" and reported is not None and reached(row) < reported - CLEARLY:
            found.append(f"{row['system']} {row['setting']} ({reached(row) - reported:+.2f})")
    if not found:
        return []
    return ["", f"At the reports' settings these are more than {CLEARLY} points below what was reported: "
            f"{', '.join(found)}."]


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
            table.append(f"| {name} | " + " | ".join(f"{next(iter(row['reported'].values())):.2f}, {measured(row)}"
                                                     for row in own) + f" | {seconds} |")
    if not table:
        return []
    return ["", "Report 1's table of architectures, losses and augmentation, each cell as reported and as measured "
            "here (rough seconds, with other work beside; the report's own are 20 for cnn_1 and 32 for cnn_5, on a "
            "GeForce 1050 Ti):", "", f"| | {' | '.join(settings)} | seconds an epoch |",
            f"|{'---|' * (len(settings) + 2)}", *table]

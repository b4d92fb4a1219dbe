"""The tables of what reference_systems.py has measured."""
from _reference_reasons import below
from _reference_rows import (
    accuracies,
    epochs,
    is_of_validation,
    kind_of,
    learned,
    longest_runs,
    names_of,
    of_one_class,
)
from _tables import is_cuda, is_there, load, machines, percent, revisions
from choose_reference_recipes import accuracies as of_candidates
from choose_reference_recipes import longest

from fmnist_sk import CLASS_NAMES


def measured(row, of=None):
    """What a row of reference_systems.json reached, in percent, on all classes or `of_one_class`.

    Each seed is by itself where one did not learn as others do.
    """
    runs = longest_runs(row)
    if not runs:
        return row["status"]
    text = percent(accuracies(row, of)) if all(learned(row)) else " / ".join(each_seed(row))
    text += " val" * is_of_validation(row) + "*" * any(map(is_cuda, runs))
    return text if runs[0]["epochs"] == row["epochs_planned"] else f"({text})"


def caption(rows):
    """What the table of all systems shows, and where it was measured: lines of a paragraph and a list."""
    runs = [run for row in rows for run in row["runs"]]
    rows = [row for row in rows if kind_of(row) != "other"]
    begun = [row for row in rows if row["runs"]]
    early = [row for row in begun if row["status"] != "complete"]
    lines = [f"**The systems of five reports** ({len(begun) - len(early)} of {len(rows)} rows complete, settings "
             "without a figure in their report not counted), which [the guide]"
             "(../guide/networks.md#networks-of-five-reports) introduces. Figures are accuracies in percent on the "
             "test images or, marked \"val\", on those training images that the report holds out for validation. Where "
             "neither a deviation nor several figures are given, there is one seed "
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
                     "schedule is compressed. Those with different numbers of epochs are no comparison with each "
                     "other, such as resnet's losses.")
    if any(len(longest_runs(row)) < len(row["runs"]) for row in begun):
        lines.append("- Of seeds with different numbers of epochs, those with the most count.")
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
             "| report | system | setting | reported | same settings here | epochs | our recipe | epochs |",
             "|---|---|---|---|---|---|---|---|"]
    ours = {row["system"]: row for row in rows if kind_of(row) == "ours"}
    for row in rows:
        if kind_of(row) != "reported" or (
                row["report"] == "report 1" and "tuned" not in row["setting"] and row["setting"] != "softmax"):
            continue                            # the rest of report 1 has a table of its own
        our = ours.pop(row["system"], None)
        reported = next(iter(row["reported"].values()), None)
        lines.append(f"| {row['report'].removeprefix('report ')} | {row['system']} | "
                     f"{row['setting'] or 'as planned'} | {'' if reported is None else f'{reported:.2f}'}"
                     f"{' val' * is_of_validation(row)} | "
                     f"{measured(row)} | {epochs(row)} | " + (f"{measured(our)} | {epochs(our)} |" if our else "| |"))
    return lines + below(rows) + recipes() + of_report_1(rows) + of_single_classes(rows) + others(rows)


def recipes():
    """How our recipes were chosen."""
    if not is_there("choose_reference_recipes"):
        return []
    runs = load("choose_reference_recipes")["runs"]
    seeds = "with one seed" if len({run["seed"] for run in runs}) == 1 else "with one seed or the mean of several"
    taught = (" A network that is taught learns from a larger one, which is trained on the same images before it."
              ) if any(run["candidate"].endswith("taught") for run in runs) else ""
    lines = ["", "**Our recipes** were chosen by `choose_reference_recipes.py`. The accuracy, in percent, is that on "
             "6,000 held-out training images after the same number of epochs, "
             f"{seeds}; the standard error of one is about 0.3 points. The number of epochs was set by the time they "
             f"take.{taught}", "",
             "| system | training images, epochs | recipes compared | best | accuracy | plain SGD |",
             "|---|---|---|---|---|---|"]
    for system, own in longest(runs).items():
        found = of_candidates(own)
        best, plain = next(iter(found)), found.get("SGD")
        lines.append(f"| {system} | {own[0]['images']:,}, {own[0]['epochs']} | {len(found)} | {best} | "
                     f"{100 * found[best]:.2f} | {'' if plain is None else f'{100 * plain:.2f}'} |")
    return lines


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
            "20 for cnn_1 and 32 for cnn_5, on a GeForce 1050 Ti. Where there are several seeds, each is shown"
            + (", and one that did not learn too" if any(not all(learned(cells[key])) for key in cells) else "")
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
    """The figures of single classes that reports have."""
    lines = []
    for row in rows:
        for name, figure in row["reported"].items():
            if of := of_one_class(name):
                code, measure = of
                lines.append(f"| {row['system']} | {row['setting']} | {CLASS_NAMES[code]} | {measure} | {figure:.2f} | "
                             f"{measured(row, of)} |")
    return ["", "The reports' figures of single classes, and those with the same settings here. Accuracy on a class is "
            "what classification reports call recall:", "",
            "| system | setting | class | figure | reported | same settings here |", "|---|---|---|---|---|---|",
            *lines]


def others(rows):
    """What reports tried without a figure, or other readings of what they say."""
    tried = {row["system"] for row in rows if kind_of(row) == "other" and row["runs"]}
    lines = []
    for row in rows:        # a figure of its own may also be one of several that were tried, such as that of p = 0.3
        names = [row["setting"]] if kind_of(row) == "other" else [
            name for name in names_of(row) if name.startswith("validation, p") and row["system"] in tried]
        lines += [f"| {row['system']} | {name} | {measured(row)} |" for name in names if row["runs"]]
    rows = [row for row in rows if kind_of(row) == "other"]
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

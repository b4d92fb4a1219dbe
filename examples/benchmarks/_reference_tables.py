"""README's tables of what reference_systems.py has measured."""
from _tables import is_cuda, is_there, load, machines, percent, revisions


def measured(row):
    """What a row of reference_systems.json reached, in percent: on validation images where its report says so."""
    if not row["runs"]:
        return row["status"]
    name = "valid_accuracy" if next(iter(row["reported"]), "").startswith("validation") else "test_accuracy"
    accuracies = [run[name] for run in row["runs"]]
    text = percent(accuracies) if len(accuracies) > 1 else f"{100 * accuracies[0]:.2f}"
    text += "*" * any(map(is_cuda, row["runs"]))
    return text if row["status"] == "complete" else f"({text}: {row['status']})"


def reference():
    """The table of all systems, and report 1's own."""
    if not is_there("reference_systems"):
        return []
    result = load("reference_systems")
    rows = result["rows"]
    whole = sum(row["status"] == "complete" for row in rows)
    runs = [run for row in rows for run in row["runs"]]
    lines = ["", f"**The systems of five reports** ({whole} of {len(rows)} rows complete, those not begun are left "
             "out; in brackets is what ended before its last epoch, because the whole fit would have taken more than "
             f"{result['minutes']:g} minutes, and reproduces nothing). Test accuracy in percent, where the setting "
             "says so accuracy on the report's share of validation images, for which report 3 does not say how long it "
             "trained. Reported settings end with the best "
             "validation epoch, our recipe for the same architecture with its last one, after training on all 60,000 "
             "images "
             f"({machines(runs)}; {revisions(runs)}).", "",
             "| system | setting | reported | same settings here | epochs | our recipe | epochs |",
             "|---|---|---|---|---|---|---|"]
    ours = {row["system"]: row for row in rows if row["setting"] == "our recipe"}
    for row in rows:
        if row["setting"] == "our recipe" or (row["report"] == "report 1" and "tuned" not in row["setting"]
                                              and row["setting"] != "softmax"):
            continue                            # the rest of report 1 has a table of its own
        our = ours.pop(row["system"], None)
        if not row["runs"] and not (our and our["runs"]):
            continue
        reported = next(iter(row["reported"].values()), None)
        lines.append(f"| {row['system']} | {row['setting'] or 'as planned'} | "
                     f"{'' if reported is None else f'{reported:.2f}'} | {measured(row)} | {row['epochs_planned']} | "
                     + (f"{measured(our)} | {our['epochs_planned']} |" if our else "| |"))
    cells = {(row["system"], row["setting"]): row for row in rows if row["report"] == "report 1"}
    settings = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
    table = []
    for name in dict.fromkeys(system for system, _ in cells):
        own = [cells[name, setting] for setting in settings]
        if seconds := [run["seconds_per_epoch"] for row in own for run in row["runs"]]:
            table.append(f"| {name} | " + " | ".join(f"{next(iter(row['reported'].values())):.2f}, {measured(row)}"
                                                     for row in own) + f" | {sum(seconds) / len(seconds):.0f} |")
    if table:
        lines += ["", "Report 1's table of architectures, losses and augmentation, each cell as reported and as "
                  "measured here (rough seconds, with other work beside):", "",
                  f"| | {' | '.join(settings)} | seconds an epoch |", f"|{'---|' * (len(settings) + 2)}", *table]
    return lines

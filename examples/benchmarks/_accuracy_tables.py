"""Tables of timed runs, of the most accurate networks, and of what both were chosen from, for report.py."""
import statistics

import accuracy
import speedrun
from _tables import cores, hardware, machine, machines, percent, results, revisions, seconds, where_of


def speedruns(result):
    measured = {name: found for name, found in result["recipes"].items() if found.get("runs")}
    runs = [run for found in measured.values() for run in found["runs"]]
    if not runs:
        return []
    device, mixed = ', "cuda"' * (result["device"] != "cpu"), len({machine(run) for run in runs}) > 1
    lines = ["", f"**From raw bytes to a fitted classifier on {machines(runs)}**: "
             f"`ResNetClassifier(**recipe(name{device}))` trained to its last epoch on all 60,000 training images, "
             "given as bytes in memory. The test images are read once for each seed. Seconds are medians; the first "
             f"fit of a process takes longer ({revisions(runs + [row['cold_start'] for row in measured.values()])}).",
             "", "| recipe | parameters | epochs | fit, s | extra time of a first fit, s | test accuracy, % (mean ± "
             f"standard deviation) | goal | each seed | 10,000 predictions, s |{' hardware |' * mixed}",
             f"|{'---|' * (9 + mixed)}"]
    for name, found in measured.items():
        first = found["runs"][0]
        fit, predictions = (seconds(statistics.median(run[key] for run in found["runs"]))
                            for key in ("fit_seconds", "predict_seconds"))
        values = [run["test_accuracy"] for run in found["runs"]]
        goal, time = speedrun.GOALS[name], getattr(speedrun.GOALS[name], speedrun.kind_of(result["device"]))
        lines.append(f"| {name} | {first['parameters']:,} | {first['epochs']} | {fit} | "
                     f"{seconds(found['cold_start']['seconds'])} | "
                     f"{percent(values)} | {f'{100 * goal.accuracy:.1f} in {time} s' if time else ''} | "
                     f"{', '.join(f'{100 * value:.2f}' for value in values)} | "
                     f"{predictions} |" + f" {hardware(found['runs'])} |" * mixed)
    return lines


def accuracies(result):
    measured = {name: found for name, found in result["goals"].items() if found.get("runs")}
    runs = [run for found in measured.values() for run in found["runs"]]
    if not runs:
        return []
    own = accuracy.GOALS[speedrun.kind_of(result["device"])]
    goals = {name: goal.accuracy for name, goal in own.items()} | dict(
        goal.members for goal in own.values() if goal.members)
    compared = "Those with few parameters are the best of several on 6,000 held-out training images. " \
        if any(found.get("choice") for found in measured.values()) else ""
    lines = ["", f"**The most accurate networks on {machines(runs)}**: trained on all 60,000 training images to the "
             f"last epoch, after which the test images were read once. {compared}Minutes are the median time of an "
             f"epoch times the number of epochs ({revisions(runs)}).", "",
             "| | network | parameters | epochs | seeds | fit, minutes | hardware | test accuracy, % | goal, % |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, found in measured.items():
        first = found["runs"][0]
        values = [run["test_accuracy"] for run in found["runs"]]
        minutes = statistics.median(run["seconds_per_epoch"] for run in found["runs"]) / 60 * (
            first["epochs"] * first["members"])
        lines.append(f"| {name} | {first['candidate']} | {first['parameters']:,} | {first['epochs']} | {len(values)} | "
                     f"{seconds(minutes)} | {cores(found['runs'])} | {percent(values)} | {100 * goals[name]:.1f} |")
    return lines


def choices():
    """What --choose of speedrun.py and accuracy.py has compared."""
    rows, runs = [], []
    for result in (*results("speedrun"), *results("accuracy")):
        for name, found in (result.get("recipes") or result["goals"]).items():
            tried = found.get("choice", [])
            runs += tried
            of_each = {}
            for run in tried:
                of_each.setdefault(run.get("candidate") or differences(run, tried), []).append(run)
            for candidate, own in of_each.items():
                taken = statistics.median(run.get("fit_seconds") or run["seconds_per_epoch"] * run["epochs"] *
                                          run["members"] for run in own)
                values = [run["valid_accuracy"] for run in own]
                rows.append(f"| {name} | {candidate} | {percent(values)} | {len(own)} | {seconds(taken / 60)} |")
    if not rows:
        return []
    return ["", "**What recipes and networks were chosen from**, by their accuracy on 6,000 held-out training images "
            "after training on the other 54,000. Differences of 0.2 points are within the deviation between "
            f"seeds ({where_of(runs)}).", "",
            "| | tried | held-out accuracy, % | seeds | fit, minutes |", "|---|---|---|---|---|", *rows]


def differences(run, others):
    """The settings by which a run differs from others, as text."""
    return ", ".join(f"`{key}={value}`" for key, value in run["settings"].items()
                     if any(other["settings"].get(key) != value for other in others))

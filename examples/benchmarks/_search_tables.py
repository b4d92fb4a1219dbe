"""What searches, clusters and ensembles cost and gain."""
import math

from _tables import interval, load, of_each_file, results, revisions, spread, where

PARTS = ("times", "memory", "together")


def searches():
    stacking = load("stacking")
    gain = next(row for row in stacking["rows"] if row["name"].startswith("stacking, cv="))
    gain, low, high = (100 * value for value in (gain["gain"], *gain["gain_interval"]))
    lines = [*of_each_file("searches", costs), "",
             f"Stacking gains {gain:.2f} points of test accuracy [{low:+.2f}, {high:+.2f}] over its best member, "
             f"{stacking['best_member']}, according to the table of ensembles below "
             f"({revisions([stacking['environment']])})."]
    parts = [stacking, *(result[part] for result in results("searches") for part in PARTS if part in result)]
    if {part["device"] for part in parts} == {"cpu"}:
        lines += ["", "None of this has been measured on CUDA yet."]
    return lines


def costs(result):
    """What a file has of the parts, which are measured one by one."""
    tables = {"times": times_of, "memory": memory_of, "together": together_of}
    parts = {part: {"environment": result["environment"] | result[part]} | result[part] for part in PARTS
             if part in result}
    return [line for part, found in parts.items() for line in ["", *tables[part](found)]][1:]


def times_of(times):
    n_candidates = math.prod(len(values) for values in times["grid"].values())
    lines = [f"The wall time of a search over {n_candidates} candidates of `ConvNetClassifier` "
             f"({' x '.join(times['grid'])}), with {times['folds']} folds of {times['images']:,} images and "
             f"{times['epochs']} epochs, without the refit. Times are the median of alternating rounds, with "
             f"{spread(times['rounds'])} in brackets ({where(times).rpartition(', ')[0]}, {revisions([times])})."
             " In serial searches and in halving, each fit has all cores; workers and threads share them, and with "
             "fewer threads a fit rounds differently.", "",
             "| | time relative to serial | accuracy of the best candidate, % |", "|---|---|---|"]
    for name, cell in times["relative to serial"].items():
        lines.append(f"| {name} | {interval(cell)} | {100 * times['found'][name]['score']:.2f} |")
    return lines


def memory_of(memory):
    after, growth = memory["after"], memory["growth_from_10_fits_on"]
    return [f"Over {after[-1]['fits']} fits in one process, its memory grew by {growth['host']:.0f} MiB after the "
            f"tenth fit, to {after[-1]['host']:.0f} MiB ({revisions([memory])})."]


def together_of(together):
    networks = together["networks"]
    ratios = ", ".join(f"{name} {interval(row['together / in turn'])}" for name, row in networks.items())
    accuracies = ", ".join(" and ".join(f"{100 * row['accuracy'][how]:.2f} %" for how in ("together", "in turn"))
                           for row in networks.values())
    return [f"The time to train the {together['members']} members of a deep ensemble together, relative to training "
            f"them in turn: {ratios} ({together['images']:,} images, brackets hold {spread(together['rounds'])}, "
            f"{revisions([together])}). The members' mean accuracies on other images, trained together and in turn, "
            f"were {accuracies}."]


def cluster():
    result = load("cluster_search")
    ratios = {name: result["cluster"][f"{name}_seconds"] / result["serial"][f"{name}_seconds"]
              for name in ("search", "stacking")}
    same = "bit-identical to" if all(result["same"].values()) else "**not** the same as"
    return [f"On a Dask cluster of {result['workers']} worker processes, of which {result['workers_lost']} was killed, "
            f"the results of a search and of a stacking were {same} those of one process with one thread. The search "
            f"took {ratios['search']:.2f} times as long as there, the stacking {ratios['stacking']:.2f} times "
            f"({result['images']:,} images, {result['epochs']} epochs; {where(result)})."]


def ensembles():
    result = load("stacking")
    best = result["best_member"]
    epochs = f"{result['epochs']} epochs" if result["epochs"] else "each network's own epochs"
    lines = [f"{result['images']:,} training images, a tenth of them for validation, {epochs}, {result['cv']} folds, "
             f"seed {result['seed']} ({where(result)}). Brackets hold 95 % intervals, for this sample of test images: "
             f"of the accuracy, and of its difference, image by image, from that of {best}, the best member on "
             "validation images. Calibration errors are those on test images, before and after temperature scaling. "
             "The temperature is learned from the validation images, as is the meta-learner of the prefit stacking.",
             "",
             f"| | validation, % | test, % | gain over {best}, points | calibration error | with temperature |",
             "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        valid = f"{100 * row['valid_accuracy']:.2f}" if "valid_accuracy" in row else ""
        low, high = (100 * value for value in row["test_interval"])
        gain, below, above = (100 * value for value in (row["gain"], *row["gain_interval"]))
        gain = "" if row["name"] == best else f"{gain:+.2f} [{below:+.2f}, {above:+.2f}]"
        errors = [f"{row[name]:.3f}" if name in row else "" for name in ("calibration_error",
                                                                        "calibration_error_after")]
        lines.append(f"| {row['name']} | {valid} | {100 * row['test_accuracy']:.2f} [{low:.2f}, {high:.2f}] | {gain} | "
                     f"{' | '.join(errors)} |")
    return lines

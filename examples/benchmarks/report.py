"""Write the figures of results/*.json into README.md, between marks such as <!-- results -->.

    python examples/benchmarks/report.py            # rewrite them
    python examples/benchmarks/report.py --check    # fail if README.md says something else
"""
import argparse
import math
import re
import statistics
import sys
from pathlib import Path

from _peers_tables import peers
from _reference_tables import reference
from _tables import cores, interval, load, machines, percent, results, revisions, seconds, where

README = Path(__file__).parent.parent.parent / "README.md"


def networks():
    result = load("networks")
    rows = result["networks"]
    lines = [f"The {len(rows)} networks, for images of 28 x 28 with one channel and ten classes. The last two columns "
             f"are one epoch on {result['n_train']:,} training images in batches of {result['batch_size']}, and the "
             f"accuracy on {result['n_held_out']:,} other training images: a sign of life, not what a network reaches. "
             "Seconds are rough: other work ran beside. "
             "Inception v3 learned from scratch there, from images enlarged to 75 x 75. Names in lower case are those "
             f"of `reference_system`. ({where(result)})", "",
             "| network | what it is | smallest image | parameters | multiply-adds, millions | accuracy, % | seconds |",
             "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        what = re.sub(r",? https?://[^\s)]+", "", row["source"])
        what = f"`{what}`" if re.fullmatch(r"\w+\(.*\)", what) else what
        cells = [name, what, f"{row['smallest_image']} x {row['smallest_image']}", f"{row['parameters']:,}",
                 f"{row['multiply_adds'] / 1e6:,.1f}", f"{100 * row['accuracy']:.1f}", f"{row['fit_seconds']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def training_craft():
    result = load("training_craft")
    runs = [run for run in result["runs"] if run["group"] != "finalist"]
    finalists = [run for run in result["runs"] if run["group"] == "finalist"]
    finalists = [run for run in finalists if sum(run["name"] == other["name"] for other in finalists) >= 3]
    first = runs[0]
    lines = [f"One change at a time: the default `ResNetClassifier` for {first['epochs']} epochs on "
             f"{first['n_train']:,} training images, accuracy on {first['n_valid']:,} others after the last epoch, "
             "one seed, or mean ± deviation of several. Differences below half a percent may be chance. Augmentations "
             "are compared with none, all else with the first row of its group, where `augment=\"fashion\"`. "
             f"({where(result).rpartition(', ')[0]}, {revisions(runs)})", "",
             "| | accuracy, % | difference |", "|---|---|---|"]
    for group in dict.fromkeys(run["group"] for run in runs):
        found = {}
        for run in runs:
            if run["group"] == group:
                found.setdefault(run["name"], []).append(run["valid_acc"])
        lines.append(f"| **{group}** | | |")
        means = [statistics.mean(values) for values in found.values()]
        differences = ["", *(f"{round(100 * (mean - means[0]), 2) + 0.0:+.2f}" for mean in means[1:])]
        lines += [f"| {name} | {percent(values)} | {difference} |"
                  for (name, values), difference in zip(found.items(), differences, strict=True)]
    if finalists:
        first = finalists[0]
        lines += ["", f"The finalists on {first['n_train']:,} training images, accuracy on the other "
                  f"{first['n_valid']:,} after the last epoch ({revisions(finalists)}):", "",
                  "| | epochs | seeds | accuracy, % (mean ± deviation) |", "|---|---|---|---|"]
    for name in dict.fromkeys(run["name"] for run in finalists):
        rows = [run for run in finalists if run["name"] == name]
        lines.append(f"| {name} | {rows[0]['epochs']} | {len(rows)} | {percent([run['valid_acc'] for run in rows])} |")
    cost = load("augmentation")
    presets = {name: share["median"] for name, share in cost["share_of_a_training_step"].items() if "(" not in name}
    lines += ["", f"Augmentation costs, as a share of a training step of the default ResNet (batches of "
              f"{cost['batch_size']}, median of {cost['rounds']} rounds, {where(cost)}): "
              + ", ".join(f'"{name}" {share:.1%}' for name, share in presets.items()) + "."]
    return lines


def forms():
    result, found = load("forms"), {}
    runs = result["runs"]
    for run in runs:
        found.setdefault(run["form"], []).append(run["valid_accuracy"])
    n, seeds = next(run["n_images"] for run in runs if run["form"] != "digits"), len({run["seed"] for run in runs})
    shown = ", ".join(f"{form} {percent(values)}" for form, values in found.items() if form != "digits")
    return [f"The default recipe learns other forms of images as it does gray ones on black: of Fashion-MNIST, with "
            f"{n:,} training images, it recognises these percentages of 6,000 others (mean ± deviation of {seeds} "
            f"seeds): {shown}; of scikit-learn's digits, 8 x 8 pixels, {percent(found['digits'])} "
            f"({where(result).rpartition(', ')[0]}, {revisions(runs)})."]


def own_pictures():
    result, found = load("own_pictures"), {}
    for run in result["runs"]:
        found.setdefault(run["what"], []).append(run)
    *sizes, images = [(what, percent([run["test_accuracy"] for run in runs])) for what, runs in found.items()]
    read = [f"{runs[0]['read_per_second']['1']:,.0f} a second at {what.split(' ')[2]} pixels"
            for what, runs in found.items() if "read_per_second" in runs[0]]
    more = max(run.get("mebibytes_more_while_reading", 0) for run in result["runs"])
    return [f"Of {result['images']:,} JPEGs of 20 to 400 pixels a side, in ten folders, with garments of Fashion-MNIST "
            f"in colours on three kinds of background, the default recipe learns to recognise these percentages of "
            f"{result['test_images']:,} others (mean ± deviation of {len(found[images[0]])} seeds): "
            + ", ".join(f"{what} {values}" for what, values in sizes)
            + f"; of the images themselves, from as many, {images[1]}. One thread reads {' and '.join(read)}, in "
            f"{more:,.0f} MiB at most ({where(result).rpartition(', ')[0]}, {revisions(result['runs'])})."]


def photos():
    result = load("photos")
    rows = result["measured"]["backgrounds"]
    return [f"On photos made of training images, up to {max(row['n'] for row in rows.values())} on each background, "
            "the network says what it says of the image itself in: "
            + ", ".join(f"{name} {row['agrees']:.1%}" for name, row in rows.items())
            + f" ({where(result).partition(', ')[2]}). "
            "How good it is on photographs of other kinds has not been measured."]


def pretrained():
    result = load("pretrained")
    small, accurate = result["small"], result["accurate"]
    return ['`load_pretrained("accurate")` is larger, slower and more often right: '
            f"{accurate['parameters']:,} parameters and {accurate['test_accuracy']:.2%} of the test images, where the "
            f"default has {small['parameters']:,} and {small['test_accuracy']:.2%} ({revisions([small, accurate])})."]


def searches():
    result = load("searches")
    times, together, memory = result["times"], result["together"], result["memory"]
    stacking = load("stacking")
    gain = next(row for row in stacking["rows"] if row["name"].startswith("stacking, cv="))
    gain, low, high = (100 * value for value in (gain["gain"], *gain["gain_interval"]))
    n_candidates = math.prod(len(values) for values in times["grid"].values())
    lines = [f"The wall time of one search: {n_candidates} candidates of `ConvNetClassifier` "
             f"({' x '.join(times['grid'])}), {times['folds']} folds of {times['images']:,} images, {times['epochs']} "
             f"epochs, without the refit; median of {times['rounds']} alternating rounds with 95 % bootstrap interval "
             f"({where(result | times).rpartition(', ')[0]}, {revisions([times])}). Serial fits and halving have all "
             "cores for one fit; workers and threads share them, and with fewer threads a fit rounds differently. The "
             f"last row is of test accuracy, from the table of ensembles below ({revisions([stacking['environment']])}"
             ").", "",
             "| | time relative to serial | accuracy of the best candidate, % |", "|---|---|---|"]
    for name, cell in times["relative to serial"].items():
        lines.append(f"| {name} | {interval(cell)} | {100 * times['found'][name]['score']:.2f} |")
    lines.append(f"| stacking: gain over its best member, {stacking['best_member']} | | {gain:+.2f} "
                 f"[{low:+.2f}, {high:+.2f}] points |")
    after, growth = memory["after"], memory["growth_from_10_fits_on"]
    lines += ["", f"Over {after[-1]['fits']} fits in one process its memory grew by {growth['host']:.0f} MiB after the "
              f"tenth, of {after[-1]['host']:.0f} MiB ({revisions([memory])}). The {together['members']} members of a "
              "deep ensemble trained together took of the time in turn: " + ", ".join(
                  f"{name} {interval(row['together / in turn'])}" for name, row in together["networks"].items())
              + f" ({together['images']:,} images, {together['rounds']} rounds, {revisions([together])}); their mean "
              "accuracies on other images were " + ", ".join(
                  " and ".join(f"{100 * row['accuracy'][how]:.2f} %" for how in ("together", "in turn"))
                  for row in together["networks"].values()) + "."]
    if {part["device"] for part in (times, memory, together, stacking)} == {"cpu"}:
        lines[-1] += " On CUDA nothing of this has been measured yet."
    return lines


def cluster():
    result = load("cluster_search")
    ratios = {name: result["cluster"][f"{name}_seconds"] / result["serial"][f"{name}_seconds"]
              for name in ("search", "stacking")}
    same = "the same, bit for bit," if all(result["same"].values()) else "**not** the same"
    return [f"With {result['workers']} worker processes, of which {result['workers_lost']} was killed, its results "
            f"were {same} as in one process with one thread; the search took {ratios['search']:.2f} of the time there, "
            f"the stacking {ratios['stacking']:.2f} ({result['images']:,} images, {result['epochs']} epochs; "
            f"{where(result)})."]


def ensembles():
    result = load("stacking")
    best = result["best_member"]
    epochs = f"{result['epochs']} epochs" if result["epochs"] else "each network's own epochs"
    lines = [f"{result['images']:,} training images, a tenth of them for validation, {epochs}, {result['cv']} folds, "
             f"seed {result['seed']} ({where(result)}). In brackets 95 % intervals of this sample of test images, and "
             f"of the difference, image by image, to {best}, the best member on validation images. Calibration errors "
             "are on test images, before and after a temperature from validation images, from which the meta-learner "
             "of the prefit stacking has learned too.", "",
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


def speedruns(result):
    measured = {name: found for name, found in result["recipes"].items() if found.get("runs")}
    runs = [run for found in measured.values() for run in found["runs"]]
    if not runs:
        return []
    device = ', "cuda"' * (result["device"] != "cpu")
    lines = ["", f"**From raw bytes to a fitted classifier on {machines(runs)}**: "
             f"`ResNetClassifier(**recipe(name{device}))` on all 60,000 training images as bytes in memory, to its "
             "last epoch; test images read once for each seed. Medians of seconds; a process's first fit takes longer "
             f"({revisions(runs + [found['cold_start'] for found in measured.values()])}).", "",
             "| recipe | parameters | epochs | fit, s | longer at first by, s | test accuracy, % (mean ± deviation) | "
             "each seed | goal | 10,000 predictions, s |", f"|{'---|' * 9}"]
    for name, found in measured.items():
        first, goal = found["runs"][0], ""
        if found["goal_seconds"] is not None:
            goal = f"{100 * found['goal']:g} % in {found['goal_seconds']:g} s"
        fit, predictions = (seconds(statistics.median(run[key] for run in found["runs"]))
                            for key in ("fit_seconds", "predict_seconds"))
        accuracies = [run["test_accuracy"] for run in found["runs"]]
        lines.append(f"| {name} | {first['parameters']:,} | {first['epochs']} | {fit} | "
                     f"{seconds(found['cold_start']['seconds'])} | "
                     f"{percent(accuracies)} | {', '.join(f'{100 * value:.2f}' for value in accuracies)} | "
                     f"{goal} | {predictions} |")
    return lines


def accuracies(result):
    measured = {name: found for name, found in result["goals"].items() if found.get("runs")}
    runs = [run for found in measured.values() for run in found["runs"]]
    if not runs:
        return []
    compared = "with few parameters the best of several by their accuracy on 6,000 held-out training images; " \
        if any(found.get("choice") for found in measured.values()) else ""
    lines = ["", f"**The most accurate networks on {machines(runs)}**: {compared}trained on all 60,000 training images "
             "to the last epoch, where the test images were read once. Minutes are those of the median epoch times "
             f"their number ({revisions(runs)}).", "",
             "| | network | parameters | epochs | seeds | fit, minutes | on | test accuracy, % | goal, % |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, found in measured.items():
        first = found["runs"][0]
        values = [run["test_accuracy"] for run in found["runs"]]
        minutes = statistics.median(run["seconds_per_epoch"] for run in found["runs"]) / 60 * (
            first["epochs"] * first["members"])
        lines.append(f"| {name} | {first['candidate']} | {first['parameters']:,} | {first['epochs']} | {len(values)} | "
                     f"{seconds(minutes)} | {cores(found['runs'])} | {percent(values)} | {100 * found['goal']:.1f} |")
    return lines


def figures():
    lines = []
    for name, table in (("speedrun", speedruns), ("accuracy", accuracies)):
        for result in results(name):
            lines += table(result)
    return [*lines, *peers(), *reference()][1:]


def reliability():
    parts = load("reliability")["parts"]
    rows = {}
    for part, text in (("inputs", "generated images, labels and parameters"),
                       ("models", "generated files that are nearly saved models")):
        if part in parts:
            found = parts[part]["rows"]
            valid = sum(number for name, number in found["counts"].items() if name.endswith("valid"))
            rows[text] = found["tried"], found["lost"], f"{valid:,} valid results, the rest refused"
    for part, text in (("kills", "{}: SIGKILL at a random moment"), ("full disk", "{}: the disk is full"),
                       ("damage", "{}: bits flipped, cut off, overwritten")):
        for name, row in parts.get(part, {"rows": {}})["rows"].items():
            rows[text.format(name)] = row["injected"], row["lost"], row.get("note", "")
    lines = [f"Tried by `examples/benchmarks/reliability.py` ({revisions(parts.values())}); lost is what ended "
             "otherwise than promised, was changed, or read as something else.", "",
             "| | tried | lost | |", "|---|---|---|---|"]
    lines += [f"| {name} | {tried:,} | {lost} | {note} |" for name, (tried, lost, note) in rows.items()]
    if "long" in parts:
        found = parts["long"]["rows"]
        last, growth = found["states"][-1], found["growth"]
        lines += ["", f"{last['fits']} fits and {last['predictions']:,} predictions in one process: memory grew by "
                  f"{growth['mib']:.1f} MiB of {last['mib']:.0f} after the tenth fit, open files by {growth['files']}, "
                  f"threads by {growth['system_threads']}."]
    return lines


# mark in README.md -> lines between its marks
SECTIONS = {"results": figures, "networks": networks, "training": training_craft, "photos": photos,
            "pretrained": pretrained, "forms": forms, "own": own_pictures, "search": searches, "cluster": cluster,
            "ensembles": ensembles, "reliability": reliability}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    new = old = README.read_text()
    for mark, lines in SECTIONS.items():
        text = "\n".join(lines())
        new, found = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m, text=text: f"{m[1]}{text}\n{m[2]}",
                             new, flags=re.DOTALL)
        if not found:
            sys.exit(f"README.md has no place for the {mark}: put <!-- {mark} --> and <!-- /{mark} --> into it")
    if args.check and old != new:
        sys.exit("README.md does not say what results/*.json say: run python examples/benchmarks/report.py")
    if not args.check:
        README.write_text(new)
        print(f"wrote {README.name}")


if __name__ == "__main__":
    main()

"""What the scripts about networks, changes of their training and the time of augmentation have measured."""
import re
import statistics

from _tables import of_each_file, percent, revisions, where, where_of


def networks():
    return of_each_file("networks", networks_of)


def networks_of(result):
    rows = result["networks"]
    lines = [f"All {len(rows)} networks, for images of 28 x 28 pixels with one channel and ten classes. The last two "
             f"columns are for a single epoch on {result['n_train']:,} training images in batches of "
             f"{result['batch_size']}. The accuracy, on {result['n_held_out']:,} other training images, only shows "
             "that a network learns, not what it can reach. Seconds are rough, because other work ran at the same "
             "time. Inception v3 was trained from scratch, on images enlarged to 75 x 75. Names in lower case are "
             f"those of `reference_system`. ({where_of(list(rows.values()))})", "",
             "| network | what it is | smallest image | parameters | multiply-adds, millions | accuracy, % | seconds |",
             "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        source = row["source"]
        what = f"`{source}`" if re.fullmatch(r"\w+\(.*\)", source) else source
        cells = [name, what, f"{row['smallest_image']} x {row['smallest_image']}", f"{row['parameters']:,}",
                 f"{row['multiply_adds'] / 1e6:,.1f}", f"{100 * row['accuracy']:.1f}", f"{row['fit_seconds']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def training_craft():
    return [*of_each_file("training_craft", training_craft_of), "", *of_each_file("augmentation", cost_of)]


def training_craft_of(result):
    runs = [run for run in result["runs"] if run["group"] != "finalist"]
    finalists = [run for run in result["runs"] if run["group"] == "finalist"]
    finalists = [run for run in finalists if sum(run["name"] == other["name"] for other in finalists) >= 3]
    first = runs[0]
    lines = [f"One change at a time to the default `ResNetClassifier`, trained for {first['epochs']} epochs on "
             f"{first['n_train']:,} training images. The accuracy is that on {first['n_valid']:,} other training "
             "images after the last epoch, with one seed, or the mean ± standard deviation of several. Differences "
             "below half a percent may be chance. Augmentations are compared with none. All other changes are compared "
             "with the first row of their group, and use `augment=\"fashion\"`. "
             f"({where_of(runs)})", "",
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
        lines += ["", f"The finalists, trained on {first['n_train']:,} training images, with the accuracy on the other "
                  f"{first['n_valid']:,} after the last epoch ({revisions(finalists)}):", "",
                  "| | epochs | seeds | accuracy, % (mean ± standard deviation) |", "|---|---|---|---|"]
    for name in dict.fromkeys(run["name"] for run in finalists):
        rows = [run for run in finalists if run["name"] == name]
        lines.append(f"| {name} | {rows[0]['epochs']} | {len(rows)} | {percent([run['valid_acc'] for run in rows])} |")
    return lines


def cost_of(result):
    presets = {name: share["median"] for name, share in result["share_of_a_training_step"].items() if "(" not in name}
    return ["The time that augmentation takes, as a share of a training step of the default ResNet (batches of "
            f"{result['batch_size']}, median of {result['rounds']} rounds, {where(result)}): "
            + ", ".join(f'"{name}" {share:.1%}' for name, share in presets.items()) + "."]

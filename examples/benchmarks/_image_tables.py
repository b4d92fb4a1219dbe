"""What the scripts about forms of images, pictures and photos have measured."""
from _tables import load, percent, revisions, where


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

"""What the scripts about forms of images, pictures and photos have measured."""
from _tables import load, of_each_file, percent, revisions, where, where_of


def forms():
    return of_each_file("forms", forms_of)


def forms_of(result):
    found, runs = {}, result["runs"]
    for run in runs:
        found.setdefault(run["form"], []).append(run["valid_accuracy"])
    n, seeds = next(run["n_images"] for run in runs if run["form"] != "digits"), len({run["seed"] for run in runs})
    names = {"digits": "scikit-learn's digits, 8 x 8 pixels, instead of garments"}
    return ["The default recipe learns other forms of images as well as gray ones on black. It is trained on "
            f"{n:,} images of Fashion-MNIST and tried on 6,000 others. Figures are means ± standard deviation over "
            f"{seeds} seeds ({where_of(runs)}).", "",
            "| form of the images | accuracy, % |", "|---|---|",
            *(f"| {names.get(form, form)} | {percent(values)} |" for form, values in found.items())]


def own_pictures():
    return of_each_file("own_pictures", own_pictures_of)


def own_pictures_of(result):
    found = {}
    for run in result["runs"]:
        found.setdefault(run["what"], []).append(run)
    images = found.pop("the images themselves")
    sizes = [f"{what} {percent([run['test_accuracy'] for run in runs])}" for what, runs in found.items()]
    read = [f"{runs[0]['read_per_second']['1']:,.0f} a second at {what.split(' ')[2]} pixels"
            for what, runs in found.items()]
    mib = [run["mib_above_start"]["1"] for runs in found.values() for run in runs if "mib_above_start" in run]
    memory = f", with at most {max(mib):,.0f} MiB of memory" if mib else ""         # older runs have not measured it
    return [f"The default recipe was trained on {result['images']:,} JPEGs of 20 to 400 pixels a side in ten folders, "
            "which show garments of Fashion-MNIST in colours on three kinds of background. It classifies these "
            f"percentages of {result['test_images']:,} others correctly (mean ± standard deviation over "
            f"{len(images)} seeds): {', '.join(sizes)}; with as many of the original images instead of photos, "
            f"{percent([run['test_accuracy'] for run in images])}. One thread reads {' and '.join(read)}{memory} "
            f"({where_of(result['runs'])})."]


def photos():
    result = load("photos")
    rows = result["measured"]["backgrounds"]
    return ["`load_pretrained()` was tried on photos made from training images, up to "
            f"{max(row['n'] for row in rows.values())} on each background. The table has the share of photos for which "
            f"it predicts the same class as for the image itself ({where(result).partition(', ')[2]}). Its accuracy on "
            "other kinds of photographs has not been measured.", "",
            "| background | same class, % |", "|---|---|",
            *(f"| {name} | {100 * row['agrees']:.1f} |" for name, row in rows.items())]


def pretrained():
    result = load("pretrained")
    small, accurate = result["small"], result["accurate"]
    return ['`load_pretrained("accurate")` is larger, slower and more accurate: it has '
            f"{accurate['parameters']:,} parameters and classifies {accurate['test_accuracy']:.2%} of the test images "
            f"correctly. The default has {small['parameters']:,} parameters and {small['test_accuracy']:.2%} "
            f"({revisions([small, accurate])})."]

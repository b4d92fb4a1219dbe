"""The tables of what peers.py has measured."""
from statistics import mean, median

from _tables import interval, percent, results, revisions, spread, where

NAMES = {"cnn": "CNN", "tiny": "tiny network", "pretrained": "the pretrained network"}


def peers():
    """The tables of the parts that were measured, each after an empty line."""
    return [line for result in results("peers") for line in tables(result)]


def tables(result):
    lines = []
    for name, table in TABLES.items():
        if name in result and result[name]["rows"]:
            settings, rows = result[name]["settings"], result[name]["rows"]
            last = list(rows.values())[-1]
            versions = [f"{other.capitalize()} {last[other]}" for other in ("lightning", "keras")
                        if other in last and name in ("epochs", "fits")]
            machine = ", ".join([*machines(result | settings, rows.values()), *versions, revisions(rows.values())])
            lines += ["", *table(settings, rows, machine)]
    return lines


def machines(result, rows):
    """Where these rows were measured, each machine once: a file may hold parts of several."""
    environment = result["environment"]
    return dict.fromkeys(where({**result, "environment": environment | row}).rpartition(", ")[0] for row in rows)


def epochs(settings, rows, machine):
    first = next(iter(rows.values()))
    sides = [side for side in first["seconds"] if side != "fmnist_sk"]
    lines = ["**The time of an epoch in other ways to train the same network**, relative to this package: median of "
             f"alternating rounds, with {spread(settings['rounds'])} in brackets. Above 1: slower than this "
             f"package. Each epoch has {first['images']:,} images in batches of {first['batch_size']}, in "
             f"{first['precision'].removeprefix('torch.')} except for skorch out of the box. Keras has its own memory "
             f"layout; all sides keep memory between steps ({machine}).", "",
             f"| | {' | '.join(NAMES[name] for name in rows)} |", "|---" * (1 + len(rows)) + "|"]
    for side in sides:
        cells = [row["other / fmnist_sk"].get(side) for row in rows.values()]
        lines.append(f"| {side} | {' | '.join(interval(cell) if cell else '' for cell in cells)} |")
    other_way = {name: row["fmnist_sk / other"].get("hand-written loop") for name, row in rows.items()}
    texts = [f"{cell['median']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}] with the {NAMES[name]}"
             for name, cell in other_way.items() if cell]
    return lines + (["", "Conversely, this package's time relative to the hand-written loop is "
                     f"{' and '.join(texts)}."] if texts else [])


def fits(settings, rows, machine):
    on_device = any(row["mib_peak_on_device"] is not None for row in rows.values())
    minutes = sorted({f"{row['minutes']:g}" for row in rows.values()})
    fewer = (f", and to fewer images where the fit would take more than {' or '.join(minutes)} minutes"
             if len({row["images"] for row in rows.values()}) > 1 else "")
    lines = ["**Whole fits, side by side**, each in a process of its own. The CNN above is trained for "
             f"{settings['epochs']} epochs (in plain skorch in float32) as the process's first fit. The memory "
             "allocator has its default settings, which only this package changes, during its fits. scikit-learn's own "
             f"estimators are fitted after trials with fewer images{fewer}. MLPClassifier and "
             "HistGradientBoosting hold out a tenth of their training images to stop early. Accuracy and time of "
             "predictions are those for the 10,000 test images, read once. Memory is that of the process, before "
             "the fit (imports and data) and at its peak. "
             f"Figures are means over seeds, times are medians ({machine}).", "",
             "| | training images | seeds | test accuracy, % | fit, s | predictions, s | MiB before | peak, MiB |"
             + (" peak on the GPU, MiB |" if on_device else ""), "|---" * (9 if on_device else 8) + "|"]
    for side in dict.fromkeys(row["side"] for row in rows.values()):
        same = [row for row in rows.values() if row["side"] == side]
        cells = [side, f"{same[0]['images']:,}", str(len(same)), percent([row["test_accuracy"] for row in same]),
                 *(f"{median(row[name] for row in same):,.1f}" for name in ("fit_seconds", "predict_seconds")),
                 *(f"{mean(row[name] for row in same):,.0f}" for name in ("mib_before", "mib_peak"))]
        if on_device:
            cells.append(f"{mean(row['mib_peak_on_device'] or 0 for row in same):,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def inference(settings, rows, machine):
    first = next(iter(rows.values()))
    lines = ["**`predict_proba` compared with the network alone**, which runs under `torch.inference_mode`, in "
             f"{first['precision'].removeprefix('torch.')}, with the same layout and batches of {first['batch_size']}, "
             f"from bytes to probabilities in host memory ({machine}). Above 1: slower than the network alone.", "",
             "| | images per call | `predict_proba` | network alone | relative time |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        for n, call in row["calls"].items():
            cells = [f"{call['median_ms'][side]:.2f} ms (95th percentile {call['p95_ms'][side]:.2f})" if n == "1" else
                     f"{1e3 * int(n) / call['median_ms'][side]:,.0f} images/s" for side in ("fmnist_sk", "bare module")]
            lines.append(f"| {NAMES.get(name, name)} | {int(n):,} | {' | '.join(cells)} | "
                         f"{interval(call['fmnist_sk / bare module'])} |")
    padded = [row["calls"]["1"]["median_ms"]["padded"] / row["calls"]["1"]["median_ms"]["bare module"]
              for row in rows.values()]
    fewest = ", ".join(f"{max(row['fewest_independent_rows'][dtype] for row in rows.values())} in "
                       f"{dtype.removeprefix('torch.')}" for dtype in first["fewest_independent_rows"])
    most = max(row["rows"] for row in rows.values())
    added = (f"a single image is padded to at most {most} rows here, for which the network alone takes "
             f"{' and '.join(f'{value:.2f}' for value in padded)} times as long as for one" if most > 1 else
             "a single image needs no others here")
    lines += ["", f"A batch of few images is padded until its bits do not depend on that: {added}. With fewer rows "
              "PyTorch may use kernels that add in another order, so that the last bits of a prediction depend on the "
              f"number of images. The fewest rows without that are, on this processor, {fewest}. In bfloat16, "
              "processors with AMX instructions use other kernels for other numbers of images even with 16 rows, and "
              "predictions are the same only up to rounding."]
    return lines


def scaling(settings, rows, machine):
    lines = ["**Time and memory with more and more images**: one epoch of a small `ConvNetClassifier`, each in a "
             "process of its own. Memory is the peak of the process's host memory during the fit, above what it had "
             "before the data were loaded. Batches on their way through the network take as much of it with few images "
             f"as with many ({machine}).", "",
             "| images | fit, s | µs per image | memory, MiB | relative to the bytes of images and network |",
             "|---|---|---|---|---|"]
    rows = sorted(rows.values(), key=lambda row: row["images"])
    lines += [f"| {row['images']:,} | {row['fit_seconds']:.1f} | {1e6 * row['seconds_per_image']:.0f} | "
              f"{row['mib_peak_above_start']:.0f} | {row['multiple']:.1f} |" for row in rows]
    if len(rows) > 1:
        some, more = rows[-2:]
        n, data, memory = (more[name] - some[name] for name in ("images", "mib_data", "mib_peak_above_start"))
        lines += ["", f"From {some['images']:,} images to {more['images']:,} memory grows by {memory * 2**20 / n:.0f} "
                  f"bytes per image; the image itself has {data * 2**20 / n:.0f}."]
    return lines


def peak(settings, rows, machine):
    first = next(iter(rows.values()))
    speeds = " and ".join(f"{median(row['peak_gflops'][dtype] for row in rows.values()):,.0f} in "
                          f"{dtype.removeprefix('torch.')}" for dtype in first["peak_gflops"])
    shares = ", ".join(f"{NAMES.get(name, name)} {row['gflops']['training']:,.0f} ({row['share']:.0%})"
                       for name, row in rows.items())
    return [f"**Share of the peak.** Matrix products here reach {speeds} (billions of operations per second, the best "
            f"of several sizes). Whole epochs in {first['precision'].removeprefix('torch.')}, counted as three passes "
            f"of two operations for each multiply-add, reach: {shares} ({machine})."]


TABLES = {"epochs": epochs, "fits": fits, "inference": inference, "scaling": scaling, "peak": peak}

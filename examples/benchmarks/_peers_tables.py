"""The tables of what peers.py has measured."""
from statistics import mean, median

from _tables import interval, percent, results, revisions, where

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
    lines = ["**What an epoch costs beside other ways to train the same network** (time relative to this package, "
             f"median of {settings['rounds']} alternating rounds with 95 % bootstrap interval; {first['images']:,} "
             f"images in batches of {first['batch_size']}, {first['precision'].removeprefix('torch.')} but for skorch "
             "out of the box, Keras with its own layout, memory kept between steps on every side; "
             f"{machine}). Above 1: slower than this package.", "",
             f"| | {' | '.join(NAMES[name] for name in rows)} |", "|---" * (1 + len(rows)) + "|"]
    for side in sides:
        cells = [row["other / fmnist_sk"].get(side) for row in rows.values()]
        lines.append(f"| {side} | {' | '.join(interval(cell) if cell else '' for cell in cells)} |")
    other_way = {name: row["fmnist_sk / other"].get("hand-written loop") for name, row in rows.items()}
    texts = [f"{cell['median']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}] with the {NAMES[name]}"
             for name, cell in other_way.items() if cell]
    return lines + (["", "The other way round, this package's time relative to the hand-written loop is "
                     f"{' and '.join(texts)}."] if texts else [])


def fits(settings, rows, machine):
    on_device = any(row["mib_peak_on_device"] is not None for row in rows.values())
    minutes = sorted({f"{row['minutes']:g}" for row in rows.values()})
    lines = ["**Whole fits, side by side**, each in a process of its own: the CNN above for "
             f"{settings['epochs']} epochs (in plain skorch in float32) as the process's first fit, with the allocator "
             "as it comes on every side, which only this package changes, during its fits; and scikit-learn's own "
             "estimators, after trials with fewer images, and with fewer images where the fit would take more than "
             f"{' or '.join(minutes)} minutes. Accuracy and time of predictions are those of the 10,000 test images, "
             "read once; memory is the process's, before the fit (imports and data) and at its peak. Means over seeds; "
             f"times are medians ({machine}).", "",
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
    lines = ["**`predict_proba` beside the network alone** (under `torch.inference_mode`, "
             f"{first['precision'].removeprefix('torch.')}, the same layout, batches of {first['batch_size']}, from "
             f"bytes to probabilities in host memory; {machine}). Above 1: slower than the network alone.", "",
             "| | images in a call | here | network alone | relative time |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        for n, call in row["calls"].items():
            cells = [f"{call['median_ms'][side]:.2f} ms (95th percentile {call['p95_ms'][side]:.2f})" if n == "1" else
                     f"{1e3 * int(n) / call['median_ms'][side]:,.0f} images/s" for side in ("fmnist_sk", "bare module")]
            lines.append(f"| {NAMES.get(name, name)} | {int(n):,} | {' | '.join(cells)} | "
                         f"{interval(call['fmnist_sk / bare module'])} |")
    return lines


def scaling(settings, rows, machine):
    lines = ["**More and more images**: one epoch of a small `ConvNetClassifier`, and the most host memory that the "
             "process had during the fit, above what it had before there were data; the batches on their way through "
             "the network take as much of it with few images as with many; each in a process of its own "
             f"({machine}).", "",
             "| images | fit, s | µs per image | memory, MiB | in multiples of the bytes of images and network |",
             "|---|---|---|---|---|"]
    rows = sorted(rows.values(), key=lambda row: row["images"])
    lines += [f"| {row['images']:,} | {row['fit_seconds']:.1f} | {1e6 * row['seconds_per_image']:.0f} | "
              f"{row['mib_peak_above_start']:.0f} | {row['multiple']:.1f} |" for row in rows]
    if len(rows) > 1:
        some, more = rows[-2:]
        n, data, memory = (more[name] - some[name] for name in ("images", "mib_data", "mib_peak_above_start"))
        lines += ["", f"From {some['images']:,} images to {more['images']:,} memory grows by {memory * 2**20 / n:.0f} "
                  f"bytes an image; the image itself has {data * 2**20 / n:.0f}."]
    return lines


def peak(settings, rows, machine):
    first = next(iter(rows.values()))
    speeds = " and ".join(f"{median(row['peak_gflops'][dtype] for row in rows.values()):,.0f} in "
                          f"{dtype.removeprefix('torch.')}" for dtype in first["peak_gflops"])
    shares = ", ".join(f"{NAMES.get(name, name)} {row['gflops']['training']:,.0f} ({row['share']:.0%})"
                       for name, row in rows.items())
    return [f"**Share of the peak.** Matrix products here reach {speeds} (billions of operations a second, the best of "
            f"several sizes); whole epochs in {first['precision'].removeprefix('torch.')}, with three passes of two "
            f"operations for each multiply-add, reach: {shares} ({machine})."]


TABLES = {"epochs": epochs, "fits": fits, "inference": inference, "scaling": scaling, "peak": peak}

"""Tables of fits on busy machines and of test-time views, for report.py."""
from _tables import interval, is_there, load, results, spread, where, where_of

PASSIVE = "fit, random_state=0, OMP_WAIT_POLICY=passive"
WORK = {"fit": "fit of the default network", "fit, random_state=0": "the same with `random_state=0`",
        PASSIVE: "the same with `random_state=0` and `OMP_WAIT_POLICY=passive` in the environment",
        "fit, n_threads=1": "the same with `n_threads=1`", "hand-written loop": "hand-written loop",
        "operation": "a single addition that threads share"}


def busy():
    if not is_there("busy"):
        return []
    result = load("busy")
    rounds = len(next(iter(result["seconds"].values())))
    alone = result["ratios"].get(f"{PASSIVE}, 1 at once")
    passive = "Threads that share an operation wait for one another at its end, by default without leaving their " \
              "processors to other programs at once. With `OMP_WAIT_POLICY=passive` in the environment they do, and " \
              f"a fit alone takes {alone['median']:.2f} times as long. " if alone else ""
    lines = ["", "**Fits on a busy machine and in a container**: slow-down when a second process does the same work, "
             "and in a container with half of the processors. Each process has as many threads as there are "
             "processors. A fit without `random_state` continues with fewer threads when others use the processors. "
             "One with `random_state` keeps its threads, because results depend on their number, and only says so. "
             f"{passive}Medians, with {spread(rounds)} in brackets ({where(result)}).", "",
             "| | two at once | half of the processors |", "|---|---|---|"]
    for work, text in WORK.items():
        cells = [result["ratios"].get(f"{work}, {side}") for side in ("2 at once", "half of the processors")]
        if any(cells):
            lines.append(f"| {text} | {' | '.join(interval(cell) if cell else '' for cell in cells)} |")
    return lines


def tta_thresholds():
    lines = []
    for name, found in (item for result in results("choose_tta") for item in result["recipes"].items()):
        n_seeds = len(found["runs"])
        lines += ["", f"**Test-time views only where the network is unsure** (`tta_below`): the recipe \"{name}\", "
                  f"`tta={found['settings']['tta']}`, trained on 54,000 images. The accuracy on the other 6,000 "
                  "training images, the share of these that get views, and the time of their predictions are means "
                  f"over {n_seeds} seed{'s' * (n_seeds > 1)} ({where_of(found['runs'])}).", "",
                  "| views | accuracy, % | share, % | predictions, s |", "|---|---|---|---|"]
        for way, mean in found["means"].items():
            text = way if "views" in way else f"below a probability of {way}"
            lines.append(f"| {text} | {100 * mean['accuracy']:.2f} | {100 * mean['share']:.1f} | "
                         f"{mean['seconds']:.2f} |")
        lines += ["", "The lowest threshold that is no worse than all views: " + (
            "none." if found["chosen"] is None else f"{found['chosen']:g}, so views do not pay here."
            if not found["chosen"] else f"{found['chosen']:g}.")]
    return lines

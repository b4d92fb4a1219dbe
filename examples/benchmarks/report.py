"""Write the figures of results/*.json into README.md and the results page, between marks such as <!-- results -->.

    python examples/benchmarks/report.py            # rewrite them
    python examples/benchmarks/report.py --check    # fail if a page differs

The git revisions at which figures were measured become footnotes.
"""
import argparse
import re
import statistics
import sys
from pathlib import Path

from _accuracy_tables import accuracies, choices, speedruns
from _image_tables import forms, own_pictures, photos, pretrained
from _peers_tables import peers
from _reference_tables import reference
from _search_tables import cluster, ensembles, searches
from _speed_tables import busy, tta_thresholds
from _tables import CHANGED, cores, hardware, is_cuda, load, machine, percent, results, revisions
from _training_tables import networks, training_craft

PAGES = Path(__file__).parent.parent.parent / "README.md", Path(__file__).parent / "README.md"


def figures():
    lines = []
    for name, table in (("speedrun", speedruns), ("accuracy", accuracies)):
        for result in results(name):
            lines += table(result)
    return [*lines, *choices(), *tta_thresholds(), *peers(), *busy(), *reference()][1:]


def summary():
    """Five results for the first page, of those that the results page has."""
    on_cpu = load("speedrun")["recipes"]
    small = load("accuracy")["goals"]["under 300k"]["runs"]
    wide = load("accuracy_cuda")["goals"]["single"]["runs"]
    others = [row for row in load("peers")["fits"]["rows"].values() if row["side"] == "MLPClassifier"]
    rows = {'`ResNetClassifier(**recipe("fast"))`': on_cpu["fast"]["runs"],
            '`ResNetClassifier(**recipe("accurate"))`': on_cpu["accurate"]["runs"],
            f"`InceptionClassifier` with {small[0]['parameters']:,} parameters": small,
            '`ResNetClassifier(**recipe("wide", "cuda"))`' + wide[0]["candidate"].partition("recipe wide")[2]: wide,
            "scikit-learn's `MLPClassifier` with 256 units, for comparison": others}
    mixed = len({machine(run) for runs in rows.values() for run in runs if not is_cuda(run)}) > 1
    lines = ["| classifier | test accuracy, % | time of a fit | hardware |", "|---|---|---|---|"]
    for what, runs in rows.items():
        taken = statistics.median(run["fit_seconds"] if "fit_seconds" in run else
                                  run["seconds_per_epoch"] * run["epochs"] for run in runs)
        where_ = hardware(runs) if mixed or is_cuda(runs[0]) else cores(runs)
        lines.append(f"| {what} | {percent([run['test_accuracy'] for run in runs])} | "
                     f"{f'{taken / 60:.0f} minutes' if taken > 120 else f'{taken:.0f} s'} | {where_} |")
    return lines


def reliability():
    parts = load("reliability")["parts"]
    rows = {}
    for part, text in (("inputs", "generated images, labels and parameters"),
                       ("models", "generated files that are almost valid saved models")):
        if part in parts:
            found = parts[part]["rows"]
            valid = sum(number for name, number in found["counts"].items() if name.endswith("valid"))
            rows[text] = found["tried"], found["lost"], f"{valid:,} valid results, the rest refused"
    for part, text in (("kills", "{}: SIGKILL at a random moment"), ("full disk", "{}: the disk is full"),
                       ("damage", "{}: bits flipped, truncated, overwritten")):
        for name, row in parts.get(part, {"rows": {}})["rows"].items():
            note = f"{row['went_on']} resumed from a checkpoint" if row.get("went_on") else row.get("note", "")
            rows[text.format(name)] = row["injected"], row["lost"], note
    lines = [f"Tried by `examples/benchmarks/reliability.py` ({revisions(parts.values())}). A case counts as lost if "
             "it did not end as promised, or if something was changed or read as something else, except in formats "
             "without checksums, where nobody can notice damage that leaves a valid file.", "",
             "| | tried | lost | |", "|---|---|---|---|"]
    lines += [f"| {name} | {tried:,} | {lost} | {note} |" for name, (tried, lost, note) in rows.items()]
    if "long" in parts:
        found = parts["long"]["rows"]
        last, growth = found["states"][-1], found["growth"]
        lines += ["", f"Over {last['fits']} fits and {last['predictions']:,} predictions in one process, memory grew "
                  f"by {growth['mib']:.1f} MiB after the tenth fit, to {last['mib']:.0f} MiB. The number of open files "
                  f"grew by {growth['files']}, that of threads by {growth['system_threads']}."]
    return lines


SECTIONS = {"results": figures, "networks": networks, "training": training_craft, "photos": photos,
            "pretrained": pretrained, "forms": forms, "own": own_pictures, "search": searches, "cluster": cluster,
            "ensembles": ensembles, "reliability": reliability, "summary": summary}      # mark: its lines


def with_footnotes(mark, text):
    """The text with its revisions as footnotes, because they would distract from the tables."""
    notes, revision = [], f"revision (?:[0-9a-f]{{7}}(?:{CHANGED})?(?:, )?)+"

    def note(match):
        notes.append(match[1] or match[2])
        return f"[^{mark}-{len(notes)}]"

    text = re.sub(rf"[,;]? ?(?:\(({revision})\)|({revision})(?=[);]|$))", note, text, flags=re.MULTILINE)
    lines = [f"[^{mark}-{i}]: {note}" for i, note in enumerate(notes, 1)]
    return "\n".join([text, *([""] if lines else []), *lines])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    old = {page: page.read_text() for page in PAGES}
    new = dict(old)
    for mark, lines in SECTIONS.items():
        text, n_found = with_footnotes(mark, "\n".join(lines())), 0
        for page in PAGES:
            new[page], found = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)",
                                       lambda m, text=text: f"{m[1]}{text}\n{m[2]}", new[page], flags=re.DOTALL)
            n_found += found
        if n_found != 1:
            sys.exit(f"{n_found} pages have a place for the {mark}: put <!-- {mark} --> and <!-- /{mark} --> into one")
    for page in PAGES:
        if args.check and old[page] != new[page]:
            sys.exit(f"{page} does not match results/*.json: run python examples/benchmarks/report.py")
        if not args.check:
            page.write_text(new[page])
            print(f"wrote {page}")


if __name__ == "__main__":
    main()

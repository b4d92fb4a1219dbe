"""Which figures of the reports are not reached with their settings, and what is known of the reasons."""
from math import sqrt

from _reference_rows import CLOSE, classifier_of, epochs, is_of_validation, longest_runs, of_one_class, reached


def below(rows):
    """A list of the figures that are clearly below what was reported, with the reason if it is known.

    The best of the test images' accuracies is not one of them: nothing is chosen by the test images here.
    """
    lines = []
    for row in rows:
        for name, reported in row["reported"].items() if row["runs"] else ():
            difference = reached(row, of := of_one_class(name)) - reported
            if difference < -CLOSE and name != "best test epoch":
                why = of_few_images(row, of) if of else \
                    REASONS.get(row["system"], lambda *_: "the reason is not known")(row, rows)
                trained = "" if row["status"] == "complete" else f", in {epochs(row)} epochs"
                lines.append(f"- {row['system']}, {name} ({difference:+.2f}{trained}): {why}.")
    return ["", f"With the reports' settings, these figures are more than {CLOSE} points below what was reported:",
            "", *lines, "",
            "Not measured is the 89.84 of patch_mlp in the epoch with the best test accuracy: nothing is chosen by "
            "test images here."] if lines else []


def of_few_images(row, of):
    """How far chance moves a figure of one class."""
    n = round(classifier_of(row).validation_fraction * 6_000) if is_of_validation(row) else 1_000
    accuracy = reached(row, of) / 100
    error = 100 * sqrt(accuracy * (1 - accuracy) / n)
    return (f"with {n:,} images of the class, this {of[1]} and the report's each have a standard error of {error:.1f} "
            f"points, and their difference one of {sqrt(2) * error:.1f}")


def of_patch_mlp(row, rows):
    """What other readings of report 4 reach, which ends with a training loss of 0.11."""
    run = longest_runs(row)[0]
    text = f"its training loss ends at {run['train_loss_of_epochs'][-1]:.2f}, the report's at 0.11"
    if "train_acc_of_epochs" in run:
        text += f"; its training accuracy at {100 * run['train_acc_of_epochs'][-1]:.2f} %, the report's at 96.11"
    readings = {other["setting"]: other for other in rows if other["system"] == row["system"] and other["runs"]}
    if other := readings.get("constant learning rate"):
        run = longest_runs(other)[0]
        last = [100 * accuracy for accuracy in run["valid_acc_of_epochs"][-10:]]
        text += (". With a constant learning rate, another reading of the report, it ends at "
                 f"{run['train_loss_of_epochs'][-1]:.2f}, with a test accuracy of {reached(other):.2f} %. There the "
                 f"accuracy on 1,000 held-out images ranged from {min(last):.1f} to {max(last):.1f} % within the last "
                 "ten epochs, so the figure of a last epoch may be off by as much")
    if other := readings.get("pixels standardised"):
        text += f". With standardised pixels, a third reading, the test accuracy is {reached(other):.2f} %"
    if other := readings.get("all training images, float32"):
        text += (f". In float32, and trained on all 60,000 images, it has {reached(other):.2f} % of the test images "
                 f"and {100 * longest_runs(other)[0]['train_acc_of_epochs'][-1]:.2f} % of the training images, the "
                 "report's 96.11")
    tried = [readings[name] for name in READINGS if name in readings]
    if tried and all(reached(other) < row["reported"]["last epoch"] - CLOSE for other in tried):
        text += ". No reading that was tried explains the difference"
    return text


def of_second_cnn_48_96(row, rows):
    """What is known of the larger network of report 0."""
    run = longest_runs(row)[0]
    rates, best = run["lr_of_epochs"], run["best_epoch"]
    text = "the report's figure of its architecture is lost, so all but the numbers of its maps are ours"
    if rates[best - 1] == rates[0]:
        text += f"; here its best validation epoch is {best}, before the learning rate falls, which gains nothing"
    if "train_acc_of_epochs" in run:
        text += f", and at the end {wrong(run):.1f} % of its training images are misclassified"
    for other in rows:
        if (other["system"], other["setting"]) == (row["system"], OTHER_NORM) and other["runs"]:
            text += (f". With batch normalisation of the convolutions alone, another reading, {reached(other):.2f} % "
                     f"of the test images are classified correctly after {epochs(other)} epochs, and "
                     f"{wrong(longest_runs(other)[0]):.1f} % of the training images are misclassified")
    return text


def wrong(run):
    """How many percent of the training images are misclassified at the end of a run."""
    return 100 - 100 * run["train_acc_of_epochs"][-1]


OTHER_NORM = "batch norm of the convolutions"                                                   # of report 0
READINGS = "constant learning rate", "pixels standardised", "all training images, float32"       # of report 4
REASONS = {"patch_mlp": of_patch_mlp, "second_cnn_48_96": of_second_cnn_48_96}

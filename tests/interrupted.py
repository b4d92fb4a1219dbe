"""Fits that are killed on the way, and the check that they go on as if nothing had happened."""
import numpy as np
import pytest
import torch
from estimators import small
from fuzzing import no_file_beyond

from fmnist_sk import ConvNetClassifier


class Counting(ConvNetClassifier):
    """Counts the epochs that all its fits train."""

    epochs = 0

    def run_single_epoch(self, iterator, training, *args, **kwargs):
        Counting.epochs += training
        return super().run_single_epoch(iterator, training, *args, **kwargs)


class Dies(Exception):
    pass


def dying(classifier, step):
    """The classifier, but with an exception at this step of training, as near as a test comes to a power cut."""
    class Dying(type(classifier)):
        def train_step(self, batch, **kwargs):
            self.n_steps = getattr(self, "n_steps", 0) + 1
            if self.n_steps == step:
                raise Dies
            return super().train_step(batch, **kwargs)

    Dying.__qualname__ = Dying.__name__ = type(classifier).__name__
    Dying.__module__ = type(classifier).__module__
    return Dying(**classifier.get_params(deep=False)).set_params(
        **{name: value for name, value in classifier.get_params().items() if name.startswith("optimizer__")})


def check_goes_on(make, X, y, folder, step, sample_weight=None):
    """Killed at `step`, a fit of make() run again trains the rest only, and equals one that was never interrupted."""
    expected = make().fit(X, y, sample_weight)
    with pytest.raises(Dies):
        dying(make().set_params(checkpoint=folder), step).fit(X, y, sample_weight)
    assert len(list(folder.iterdir())) == 1
    again = dying(make().set_params(checkpoint=folder), -1)
    again.fit(X, y, sample_weight)
    steps_per_epoch = again.history_[-1, "train_batch_count"]
    assert again.n_steps < len(again.history_) * steps_per_epoch
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
    keys = ["epoch", "train_loss", "lr", *(["valid_loss", "valid_acc_best"] if "valid_loss" in again.history_[-1]
                                           else [])]
    assert again.history_[:, keys] == expected.history_[:, keys]
    assert getattr(again, "best_epoch_", None) == getattr(expected, "best_epoch_", None)
    assert list(folder.iterdir()) == []
    for one, two in zip(again.optimizer_.state_dict()["state"].values(),
                        expected.optimizer_.state_dict()["state"].values(), strict=True):
        for name, value in one.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[name]))


def check_checkpoint_outlives_a_full_disk(X, y, folder, n, size):
    """A fit with a checkpoint of epoch n goes on, finds no room for those of later epochs, and is interrupted."""
    net = small("ConvNetClassifier", max_epochs=6)
    expected = dying(net, -1).fit(X, y)
    steps = expected.n_steps // 6
    net.set_params(checkpoint=folder)
    with pytest.raises(Dies):
        dying(net, n * steps + 1).fit(X, y)
    file, = folder.iterdir()
    content = file.read_bytes()
    with no_file_beyond(min(size, len(content) - 1)), pytest.raises(Dies), \
            pytest.warns(UserWarning, match="The fit continues without it"):
        dying(net, 2 * steps + 1).fit(X, y)
    assert {path: path.read_bytes() for path in folder.iterdir()} == {file: content}
    again = dying(net, -1).fit(X, y)
    assert again.n_steps == (6 - n) * steps
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
    assert not list(folder.iterdir())

"""Disks that are full, and data sets at the edge of what there is."""
import sys

import numpy as np
import pytest
from estimators import kinds_of_classifiers, small
from fuzzing import no_file_beyond
from interrupted import Dies, check_checkpoint_outlives_a_full_disk, dying

from fmnist_sk import ConvNetClassifier, load, save
from fmnist_sk._storage.download import DownloadError, download

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of files are Linux's")


@linux
@pytest.mark.parametrize("size", [0, 1000])
def test_a_save_on_a_full_disk_leaves_the_old_file(size, tiny_images, tmp_path):
    X, y = tiny_images()
    old, new = (small("ConvNetClassifier", max_epochs=1, random_state=seed).fit(X, y) for seed in (0, 1))
    path = save(old, tmp_path / "model.safetensors")
    with no_file_beyond(size), pytest.raises(OSError, match="File too large"):
        save(new, path)
    np.testing.assert_array_equal(load(path).predict_proba(X), old.predict_proba(X))
    assert list(tmp_path.iterdir()) == [path]


@linux
@pytest.mark.parametrize("size", [0, 1000, 20_000])
def test_a_checkpoint_on_a_full_disk_is_warned_of_and_the_fit_goes_on(size, tiny_images, tmp_path):
    X, y = tiny_images()
    expected = small("ConvNetClassifier", max_epochs=4).fit(X, y).predict_proba(X)
    warning = "nothing can be written to the folder .* The fit continues"
    with no_file_beyond(size), pytest.warns(UserWarning, match=warning):
        found = small("ConvNetClassifier", max_epochs=4, checkpoint=tmp_path).fit(X, y)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    assert not list(tmp_path.iterdir())


@linux
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("size", [0, 1000, 20_000])
def test_a_full_disk_leaves_the_checkpoint_of_an_earlier_epoch(size, n, tiny_images, tmp_path):
    check_checkpoint_outlives_a_full_disk(*tiny_images(), tmp_path, n, size)


def test_a_read_only_folder_keeps_the_old_model(closable_folder, tiny_images):
    folder, close = closable_folder
    X, y = tiny_images()
    old, new = (small("ConvNetClassifier", max_epochs=1, random_state=seed).fit(X, y) for seed in (0, 1))
    path = save(old, folder / "model.safetensors")
    path.chmod(0o444)
    close()
    with pytest.raises(PermissionError, match="Permission denied"):
        save(new, path)
    np.testing.assert_array_equal(load(path).predict_proba(X), old.predict_proba(X))


def test_a_read_only_folder_for_checkpoints_is_warned_of_and_the_fit_goes_on(closable_folder, tiny_images):
    folder, close = closable_folder
    X, y = tiny_images()
    expected = small("ConvNetClassifier", max_epochs=4).fit(X, y).predict_proba(X)
    close()
    with pytest.warns(UserWarning, match="nothing can be written to the folder .*Permission denied.*The fit continues"):
        found = small("ConvNetClassifier", max_epochs=4, checkpoint=folder).fit(X, y)
    np.testing.assert_array_equal(found.predict_proba(X), expected)


def test_a_checkpoint_that_cannot_be_removed_is_warned_of(closable_folder, tiny_images):
    X, y = tiny_images()
    folder, close = closable_folder
    expected = small("ConvNetClassifier", max_epochs=4).fit(X, y).predict_proba(X)
    net = small("ConvNetClassifier", max_epochs=4, checkpoint=folder)
    with pytest.raises(Dies):
        dying(net, 5).fit(X, y)
    close()
    with pytest.warns(UserWarning, match=r"cannot be removed \(Permission denied\)"):
        net.fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), expected)


@linux
def test_a_cache_on_a_full_disk_holds_nothing_of_a_file(tmp_path):
    source, target = tmp_path / "source", tmp_path / "cache" / "content"
    source.write_bytes(bytes(100_000))
    message = f"{target.parent} cannot be written to: .*File too large"
    with no_file_beyond(70_000), pytest.raises(DownloadError, match=message):
        download([source.as_uri()], target, lambda path: None)
    assert [path.name for path in target.parent.iterdir()] in ([], ["content.lock"])


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_one_image_of_each_of_a_thousand_classes(tiny_images):
    X, y = np.random.default_rng(0).integers(0, 256, (1000, 8, 8), dtype=np.uint8), np.arange(1000)[::-1] * 3
    classifier = ConvNetClassifier(architecture="256N", max_epochs=10, lr=0.01, random_state=0).fit(X, y)
    found = classifier.predict_proba(X)
    assert found.shape == (1000, 1000)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(X), y)


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_constant_images_give_probabilities(name, value):
    X, y = np.full((30, 8, 8), value, np.uint8), np.arange(30) % 3
    found = small(name, max_epochs=2).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)

"""Folders of pictures as data sets, and pictures as the first step of a Pipeline."""
import io
import os
import pickle
import resource
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from estimators import net, small
from PIL import Image, features
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import fmnist_sk
from fmnist_sk import ImageReader, load_image_folder

COLOURS = {"Blue things": (30, 40, 230), "green": (20, 200, 40), "red": (220, 30, 30)}


def picture(colour=(220, 30, 30), size=(60, 40), seed=0):
    """A Pillow image of noise in about this colour; size is (width, height)."""
    noise = np.random.default_rng(seed).integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Eight pictures of each of three colours, of many formats and sizes, and files that are none."""
    endings = ["png", "jpg", "JPEG", "bmp", "gif", "ppm", "png", "webp" if features.check("webp") else "png"]
    for name, colour in COLOURS.items():
        for i, ending in enumerate(endings):
            path = tmp_path / "pictures" / name / ("deeper" if i == 3 else ".") / f"{i}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(colour, (20 + 30 * i, 200 - 20 * i), i).save(path)
        (tmp_path / "pictures" / name / "notes.txt").write_text("hello")
        (tmp_path / "pictures" / name / ".hidden.png").write_bytes(b"hello")
    (tmp_path / "pictures" / ".thumbnails").mkdir()
    (tmp_path / "pictures" / "labels.csv").write_text("hello")
    return tmp_path / "pictures"


def test_a_folder_is_a_data_set_like_those_of_scikit_learn(folder):
    bunch = load_image_folder(folder, size=(12, 16), color="rgb")
    assert bunch.images.shape == (24, 3, 12, 16)
    assert bunch.data.shape == (24, 576)
    assert np.shares_memory(bunch.data, bunch.images)
    assert bunch.images.dtype == np.uint8
    assert bunch.target.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert bunch.target_names.tolist() == list(COLOURS)
    assert bunch.frame is None
    assert "24 pictures of" in bunch.DESCR
    assert [path.parent.name for path in bunch.paths[:4]] == ["Blue things"] * 3 + ["Blue things"]
    for path, image, code in zip(bunch.paths, bunch.images, bunch.target, strict=True):
        assert path.is_file()
        np.testing.assert_allclose(image.mean((1, 2)), COLOURS[bunch.target_names[code]], atol=25)
    model = small("ConvNetClassifier").fit(bunch.images, bunch.target)
    assert model.score(bunch.images, bunch.target) == 1


def test_labels_are_numbers_names_or_none(folder):
    names = load_image_folder(folder, label="name")
    assert names.target.tolist() == [name for name in COLOURS for _ in range(8)]
    assert names.images.shape == (24, 28, 28)
    without = load_image_folder(folder, label=None)
    assert (without.target, len(without.images), without.target_names.tolist()) == (None, 24, [])
    one = load_image_folder(folder / "red", label=None)
    np.testing.assert_array_equal(one.images, names.images[-8:])


def test_the_order_is_that_of_the_names(folder, tmp_path):
    copied = tmp_path / "copied"
    for path in sorted(folder.rglob("*"), reverse=True):                # created in another order
        if path.is_file():
            (copied / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied / path.relative_to(folder))
    first, second = load_image_folder(folder, n_jobs=1), load_image_folder(copied, n_jobs=4)
    assert [p.relative_to(folder) for p in first.paths] == [p.relative_to(copied) for p in second.paths]
    np.testing.assert_array_equal(first.images, second.images)


def test_pictures_that_cannot_be_read_are_named_once_or_an_error(folder):
    (folder / "red" / "broken.png").write_bytes(b"hello")
    whole = (folder / "red" / "1.jpg").read_bytes()
    (folder / "green" / "cut.jpg").write_bytes(whole[:len(whole) // 2])
    with pytest.warns(UserWarning, match=r"2 of 26 pictures skipped: .*cut.jpg is .*broken.png is") as seen:
        bunch = load_image_folder(folder)
    assert len(seen) == 1
    assert len(bunch.images) == len(bunch.target) == len(bunch.paths) == 24
    with pytest.raises(ValueError, match=r"cut.jpg is damaged"):
        load_image_folder(folder, on_error="raise")
    for path in folder.rglob("*.*"):
        if path.is_file() and path.parent.name != "red":
            path.unlink()
    for path in (folder / "red").rglob("*.*"):
        if path.is_file():
            path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="8 of 8 pictures skipped"):
        load_image_folder(folder)


@pytest.mark.parametrize(("params", "error", "message"), [
    ({"size": 0}, ValueError, r"size must be a whole number or \(height, width\), from 1 to 4096 pixels, got size=0"),
    ({"size": (3, 5000)}, ValueError, "size must be"), ({"size": "28"}, ValueError, "size must be .* got size='28'"),
    ({"size": 2.5}, ValueError, "size must be"), ({"color": "grey"}, ValueError, "color must be one of 'gray', 'rgb'"),
    ({"resize": "squeeze"}, ValueError, "resize must be one of 'pad', 'crop', 'stretch', got resize='squeeze'"),
    ({"label": "text"}, ValueError, "label must be one of 'folder', 'name', None, got label='text'"),
    ({"on_error": "ignore"}, ValueError, "on_error must be one of"),
    ({"folder": 3}, TypeError, "folder must be a string or a pathlib.Path, got folder=3"),
    ({"folder": "/nowhere"}, FileNotFoundError, "folder must name a folder of pictures, but there is none at '/nowh"),
    ({"folder": __file__}, FileNotFoundError, "folder must name a folder"),
    ({"folder": ""}, FileNotFoundError, "folder must name a folder"),
    ({"size": True}, ValueError, "size must be"),
    ({"n_jobs": 0}, ValueError, "'n_jobs' parameter of load_image_folder"),
    ({"max_pixels": "a"}, ValueError, "'max_pixels' parameter of load_image_folder must be an int in the range"),
    ({"max_pixels": 10**12}, ValueError, "'max_pixels' parameter of load_image_folder must be an int in the range"),
])
def test_what_is_wrong_is_named(params, error, message, folder):
    with pytest.raises(error, match=message):
        load_image_folder(**{"folder": folder, **params})


def test_folders_without_pictures_are_refused(folder, tmp_path):
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"folder must hold pictures \(.*.jpg.*\) in its subfolders"):
        load_image_folder(tmp_path / "empty")
    assert load_image_folder(folder / "red").target_names.tolist() == ["deeper"]
    with pytest.raises(ValueError, match="in its subfolders, one for each class, got none"):
        load_image_folder(folder / "red" / "deeper")


def test_a_bar_shows_the_progress(folder, capsys):
    load_image_folder(folder)
    assert capsys.readouterr().err == ""
    load_image_folder(folder, progress=True)
    assert "24/24" in capsys.readouterr().err


def test_large_pictures_do_not_stay_in_memory(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(4):
        Image.new("RGB", (4000, 3000), (i, i, i)).save(tmp_path / "a" / f"{i}.png")
    load_image_folder(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (tmp_path / "a").iterdir():
        for copy in range(3):
            os.link(path, path.with_name(f"{copy}_{path.name}"))
    assert len(load_image_folder(tmp_path).images) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024        # KiB: less than two of 34 MiB


def test_damaged_pictures_do_not_stay_in_memory_either(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4000, 3000)).save(tmp_path / "a" / "0.bmp")
    whole = (tmp_path / "a" / "0.bmp").read_bytes()
    load_image_folder(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(1, 8):
        (tmp_path / "a" / f"{i}.bmp").write_bytes(whole[:-1000])
    with pytest.warns(UserWarning, match="7 of 8 pictures skipped"):
        load_image_folder(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 110 * 1024        # KiB: about three of 34 MiB


def test_what_a_user_may_have_expected_is_told(folder, tmp_path):
    (folder / "hat").mkdir()
    (folder / "note.txt").write_text("no picture")
    Image.new("L", (9, 9)).save(folder / "beside.png")
    Image.new("L", (9, 9)).save(next(part for part in folder.iterdir() if part.is_dir()) / "scan.tiff")
    with pytest.warns(UserWarning, match=r"1 picture in formats that are not read, such as .*scan\.tiff; 1 picture "
                      r"outside the subfolders, such as .*beside\.png; classes without pictures, "
                      r"which still appear in target_names, hat\."):
        names = load_image_folder(folder).target_names
    assert "hat" in names
    parts = tmp_path / "parts"
    for part in ("train", "test"):
        shutil.copytree(folder, parts / part)
    with pytest.raises(ValueError, match=r"a subfolder for each class, got test, train in .*: load each separately\."):
        load_image_folder(parts)


# ---------------------------------------------------------------------- how pictures are fitted

@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [(1200, 1), (1, 3000), (3000, 9)])
def test_pictures_may_be_thin(fit, size):
    assert ImageReader(28, resize=fit).transform([Image.new("RGB", size, "red")]).shape == (1, 1, 28, 28)


@pytest.mark.parametrize("width", [400, 1600])
def test_no_detail_is_lost_by_proportions(width, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (25, 25), dtype=np.uint8)
    detailed = Image.fromarray(noise).resize((200, 200))
    wide = Image.new("L", (width, 200))
    wide.paste(detailed, ((width - 200) // 2, 0))
    wide.save(tmp_path / "wide.png")
    cropped = ImageReader(28, resize="crop").transform([tmp_path / "wide.png"])
    expected = np.asarray(detailed.resize((28, 28), Image.Resampling.LANCZOS), dtype=float)
    assert np.corrcoef(cropped.ravel(), expected.ravel())[0, 1] > 0.97


def test_numbers_of_16_bits_mean_the_same_in_every_picture(tmp_path):
    for i, value in enumerate((1, 200, 65535)):
        (tmp_path / f"{i}.pgm").write_bytes(b"P5 4 4 65535\n" + value.to_bytes(2, "big") * 16)
    found = ImageReader(4).transform(sorted(tmp_path.iterdir()))
    assert found[:, 0, 0, 0].tolist() == [0, 1, 255]

def halves(width=80, height=40):
    """The left half is blue, the right half yellow; a white frame of a tenth of the height."""
    values = np.full((height, width, 3), 255, dtype=np.uint8)
    border = height // 10
    values[border:-border, border:width // 2] = (0, 0, 255)
    values[border:-border, width // 2:-border] = (255, 255, 0)
    return values


def read(X, **params):
    image, = ImageReader(**{"size": 40, "color": "rgb", **params}).fit_transform([X])
    return image


def test_pad_keeps_everything_crop_the_middle_stretch_the_sides():
    pad, crop, stretch = (read(halves(), resize=resize) for resize in ("pad", "crop", "stretch"))
    assert (pad[:, :9] == 255).all()                                    # the colour of the edges
    assert (pad[:, 31:] == 255).all()
    np.testing.assert_array_equal(pad[:, 20, 10], [0, 0, 255])
    np.testing.assert_array_equal(crop[:, 20, 2], [0, 0, 255])          # no frame on the left
    np.testing.assert_array_equal(stretch[:, 20, 10], [0, 0, 255])
    assert (stretch[:, :3] == 255).all()
    assert (stretch[:, 6:-6, 10] == stretch[:, 20, 10][:, None]).all()


def test_sizes_colours_and_channels():
    assert read(halves(), size=(20, 50)).shape == (3, 20, 50)
    assert read(halves(), size=[8, 8]).shape == (3, 8, 8)
    gray = read(halves(), color="gray", resize="stretch")
    assert gray.shape == (1, 40, 40)
    assert gray[0, 20, 10] == round(0.114 * 255)
    assert read(halves()[:, :, 0]).shape == (3, 40, 40)                 # a gray picture, in colour
    transparent = np.dstack([np.zeros_like(halves()), np.zeros((40, 80), dtype=np.uint8)])
    assert (read(transparent) == 255).all()


def test_pictures_come_in_every_form(tmp_path):
    values = halves()
    expected = read(values)
    Image.fromarray(values).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), Image.fromarray(values),
             values / 255, torch.from_numpy(values), tmp_path / "turned.png"]
    for form in forms:
        np.testing.assert_array_equal(read(form), expected)
    for X in (forms, tuple(forms), pd.Series(forms), np.array(forms[:2], dtype=object)):
        images = ImageReader(40, "rgb", n_jobs=2).fit_transform(X)
        assert images.shape == (len(X), 3, 40, 40)
        np.testing.assert_array_equal(images[0], expected)
    np.testing.assert_array_equal(ImageReader(40, "rgb").transform(np.stack([values, values])), [expected, expected])


@pytest.mark.parametrize(("X", "error", "message"), [
    ("a.png", TypeError, "X must be a list of photos"), ([], ValueError, "X must hold at least one photo"),
    (["/nowhere/a.png"], FileNotFoundError, "there is no file at '/nowhere/a.png'"),
    ([3], TypeError, r"X\[0\] must be a path"), ([halves(), b"hello"], ValueError, r"X\[1\] is not a readable picture"),
    (halves(), ValueError, r"give one photo as a list, \[X\]"),
    ([np.zeros((3, 3), dtype=int)], ValueError, "must hold uint8"),
])
def test_what_is_no_picture_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        ImageReader().fit_transform(X)


@pytest.mark.parametrize("params", [{"size": 0}, {"size": (3,)}, {"size": "28"}, {"color": "grey"}, {"resize": "x"},
                                    {"max_pixels": 0}, {"n_jobs": "x"}])
def test_parameters_are_checked(params):
    name, = params
    with pytest.raises(ValueError, match=name):
        ImageReader(**params).fit_transform([halves()])


def test_paths_go_through_searches_and_a_saved_model_takes_photos(folder, tmp_path):
    bunch = load_image_folder(folder, label="name", color="rgb", size=12)
    paths = [str(path) for path in bunch.paths]
    model = make_pipeline(ImageReader(12, "rgb"), small("ConvNetClassifier"))
    search = GridSearchCV(model, {"imagereader__color": ["rgb", "gray"], "convnetclassifier__lr": [0.01]}, cv=2,
                          error_score="raise").fit(paths, bunch.target)
    best = search.best_estimator_
    assert best.score(paths, bunch.target) == 1
    expected = best.predict_proba(paths)
    fmnist_sk.save(best, tmp_path / "model.safetensors")
    loaded = fmnist_sk.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(paths), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(best)).predict_proba(paths), expected)
    photo = io.BytesIO()
    picture(COLOURS["green"], (90, 70), 5).save(photo, "PNG")
    assert loaded.predict([photo.getvalue()]).tolist() == ["green"]


@pytest.mark.parametrize("X", [
    ["a.png", "b.png"], [Path("a.png")] * 2, pd.Series(["a.png", "b.png"]), [picture()] * 2, [b"123", b"456"], "a.png",
    np.array(["a.png", "b.png"]), picture()], ids=lambda X: repr(X)[:25])
def test_classifiers_say_how_pictures_are_read(X):
    with pytest.raises(TypeError, match=r"files or pictures: read them first, .*make_pipeline\(ImageReader\(28"):
        net().fit(X, [0, 1])


def test_images_of_several_sizes_are_to_be_read_first():
    images = [np.zeros((8, 8)), np.zeros((9, 8))]
    with pytest.raises(ValueError, match=r"X must hold images of one size: read them first, .*ImageReader\(28\)"):
        net().fit(images, [0, 1])


def test_without_pillow_the_error_names_the_extra(monkeypatch, folder):
    import sys
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (lambda: load_image_folder(folder), lambda: ImageReader().transform([halves()])):
        with pytest.raises(ImportError, match=r"pip install 'fmnist_sk\[photo\]'"), warnings.catch_warnings():
            call()

"""Photos of any kind become images like the data set's, and files that are none are refused."""
import gc
import os
import resource
import subprocess
import sys
import textwrap
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from fashion import real_data
from PIL import Image, features
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from fmnist_sk import PhotoToFashion, load_fashion_mnist, load_pretrained
from fmnist_sk._data.pictures import read_picture


def drawing(size=(300, 200), background=(255, 255, 255), garment=(20, 40, 60)):
    """A garment of 150 x 60 pixels with a hole, not in the middle: (height, width, 3) uint8."""
    photo = np.full((*size, 3), background, dtype=np.uint8)
    photo[100:250, 20:80] = garment
    photo[120:140, 40:60] = background
    return photo


def one(photo, **params):
    image, = PhotoToFashion(**params).fit_transform([photo])
    assert image.shape == (params.get("size", 28),) * 2
    assert image.dtype == np.uint8
    return image


@pytest.fixture
def expected():
    return one(drawing())


# ---------------------------------------------------------------------- the published steps

def test_the_garment_fills_the_frame_bright_on_black(expected):
    rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
    assert (rows[0], rows[-1]) == (0, 27)                            # the longest edge has 28 pixels
    assert len(columns) in (11, 12)                                  # 28 * 60 / 150
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5         # in the middle
    gray = round(255 - (0.299 * 20 + 0.587 * 40 + 0.114 * 60))
    assert expected[15, 13] == pytest.approx(gray, abs=1)
    assert expected[5, 13] == 0                                      # the hole is background


@pytest.mark.parametrize(("params", "check"), [
    ({"trim": False}, lambda image: image.any(1).sum() < 16),
    ({"size": 64}, lambda image: image.any(1).sum() >= 62),
    ({"background": "dark"}, lambda image: np.median(image[image > 0]) == 36),
    ({"sharpen": False}, lambda image: np.unique(image[image > 0]).size <= 40),
])
def test_parameters_do_what_they_say(params, check, expected):
    image = one(drawing(), **params)
    assert check(image)
    assert image.shape != expected.shape or not np.array_equal(image, expected)


def test_sharpening_is_a_gaussian_of_radius_one():
    photo = np.full((56, 56, 3), 255, dtype=np.uint8)
    photo[10:46, 8:28], photo[10:46, 28:48] = 100, 60
    flat, sharp = (one(photo, sharpen=sharpen, trim=False, size=56) for sharpen in (False, True))
    row = sharp[28].astype(int) - flat[28]
    assert row[27] < 0 < row[28]                                    # the edge is steeper
    assert not row[[*range(15, 22), *range(34, 41)]].any()          # and nothing far from one has changed


def test_a_dark_background_is_not_inverted(expected):
    dark = one(drawing(background=(0, 0, 0), garment=(235, 215, 195)))
    np.testing.assert_allclose(dark.astype(int), expected, atol=4)
    assert one(drawing(background=(230, 230, 255)))[5, 13] == 0
    assert one(drawing(background=(40, 40, 40), garment=(200, 180, 20)))[5, 13] == 0


def test_noise_does_not_keep_edges_from_being_trimmed(expected):
    for sigma in (6, 20):
        noise = np.random.default_rng(0).normal(0, sigma, (300, 200, 3))
        photo = (drawing(background=(220, 220, 220)) + noise).clip(0, 255).astype(np.uint8)
        photo[3, 3] = 0                                             # a speck
        image = one(photo)
        assert image[[1, 26]].any(1).all()
        np.testing.assert_allclose(image.astype(int)[10:26, 11:17], expected[10:26, 11:17], atol=25)
        assert not image[:, :6].any()


def test_the_background_may_grow_darker(expected):
    shade = np.linspace(250, 170, 200)[None, :, None] * np.ones((300, 1, 3))
    photo = np.where(drawing() == 255, shade, drawing()).astype(np.uint8)
    np.testing.assert_allclose(one(photo)[8:26, 11:17].astype(int), expected[8:26, 11:17], atol=4)
    assert not one(photo)[:, :7].any()


@pytest.mark.parametrize("background", [0, 50, 110, 150, 220, 255])
def test_a_garment_looks_the_same_on_any_background(background):
    for value in (10, 130, 250):
        if abs(value - background) > 50:
            image = one(drawing(background=(background,) * 3, garment=(value,) * 3), sharpen=False)
            other = one(drawing(background=(255 if value < background else 0,) * 3, garment=(value,) * 3),
                        sharpen=False)
            assert np.abs(image.astype(int) - other).mean() < 2     # but for pixels half of both
            assert image[20, 13] == (255 - value if value < background else value)
            assert image[5, 13] == 0


def test_the_corners_may_be_darker(expected):
    fall = np.add.outer(np.linspace(-1, 1, 300) ** 2, np.linspace(-1, 1, 200) ** 2)[:, :, None] / 2 * 80
    photo = np.where(drawing() == 255, 240 - fall, drawing()).astype(np.uint8)
    np.testing.assert_allclose(one(photo)[8:26, 11:17].astype(int), expected[8:26, 11:17], atol=4)
    assert not one(photo)[:, :7].any()


def test_images_in_which_nothing_is_seen_are_named():
    with pytest.warns(UserWarning, match=r"X\[0\] gives an image that is nearly black"):
        one(drawing(garment=(250, 250, 250), background=(215, 215, 215)), background="light")


@pytest.mark.parametrize("photo", [np.full((50, 40, 3), 200, dtype=np.uint8), np.zeros((50, 40), dtype=np.uint8),
                                   np.full((1, 1), 7, dtype=np.uint8), np.zeros((9, 9), dtype=bool)])
def test_photos_of_one_colour_are_black_and_named(photo):
    with pytest.warns(UserWarning, match=r"X\[0\] shows nothing but its background: its image is black"):
        assert not one(photo).any()


# ---------------------------------------------------------------------- all kinds of photos

@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.gif", "a.webp", "a.jpg"])
def test_files_of_any_format(name, tmp_path, expected):
    if name == "a.webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    options = {"quality": 95} if name == "a.jpg" else {"lossless": True} if name == "a.webp" else {}
    Image.fromarray(drawing()).save(tmp_path / name, **options)
    for path in (tmp_path / name, str(tmp_path / name)):
        np.testing.assert_allclose(one(path).astype(int), expected, atol=12 if name == "a.jpg" else 1)


@pytest.mark.parametrize("convert", [
    lambda photo: Image.fromarray(photo), lambda photo: photo / 255, lambda photo: torch.from_numpy(photo),
    lambda photo: photo.astype(np.float32) / 255, lambda photo: np.dstack([photo, np.full_like(photo[:, :, 0], 255)]),
    lambda photo: Image.fromarray(photo).convert("CMYK"), lambda photo: Image.fromarray(photo).convert("P"),
    lambda photo: photo[::-1][::-1],
], ids=["image", "float64", "tensor", "float32", "alpha", "CMYK", "palette", "strided"])
def test_images_arrays_and_tensors(convert, expected):
    np.testing.assert_allclose(one(convert(drawing())).astype(int), expected, atol=12)


def test_gray_photos_of_any_depth(tmp_path):
    gray = np.asarray(Image.fromarray(drawing()).convert("L"))
    expected = one(gray)
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")
    for photo in (gray[:, :, None], Image.fromarray(gray), tmp_path / "16.png", Image.fromarray(gray).convert("I"),
                  np.repeat(gray[:, :, None], 3, 2)):
        np.testing.assert_allclose(one(photo).astype(int), expected, atol=1)
    assert one(Image.fromarray(gray > 128)).max() == 255                 # one bit


def test_a_light_garment_on_nothing_is_seen(expected):
    alpha = (drawing() != 255).any(2).astype(np.uint8) * 255
    image = one(np.dstack([np.full_like(drawing(), 250), alpha]))
    np.testing.assert_array_equal(image > 0, expected > 0)
    assert image[20, 13] == 250
    assert not one(np.dstack([np.full_like(drawing(), 255), alpha]), background="light").any()


def test_floats_in_files(tmp_path):
    gray = np.asarray(Image.fromarray(drawing()).convert("L"))
    for name, factor in (("255.pfm", 1.0), ("1.pfm", 1 / 255)):
        Image.fromarray(gray.astype(np.float32) * np.float32(factor)).save(tmp_path / name)
        np.testing.assert_allclose(one(tmp_path / name).astype(int), one(gray), atol=3)
    Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32)).save(tmp_path / "nan.pfm")
    with pytest.raises(ValueError, match=r"nan.pfm is damaged, .* it holds NaN or infinity"):
        one(tmp_path / "nan.pfm")


def test_transparent_becomes_white(expected, tmp_path):
    alpha = (drawing() != 255).any(2).astype(np.uint8) * 255
    garment = np.dstack([np.full_like(drawing(), (20, 40, 60)), alpha])
    garment[alpha == 0, :3] = (255, 0, 0)                               # what is under it does not count
    image = one(garment)
    assert np.abs(image.astype(int) - expected).mean() < 4             # whose edges are found, and not given
    Image.fromarray(garment).save(tmp_path / "a.png")
    np.testing.assert_array_equal(one(tmp_path / "a.png"), image)


# ---------------------------------------------------------------------- cut-outs, frames and bars

def shirt(size=(300, 240), paper=255, gray=60):
    """A photo of something with sleeves and a stripe: (height, width, 3) uint8, and where it is."""
    mask = np.zeros(size, dtype=bool)
    mask[60:260, 80:160] = mask[60:120, 30:210] = True
    photo = np.where(mask, gray, paper).astype(np.uint8)
    photo[150:170, 80:160] = max(0, gray - 40)
    return np.repeat(photo[:, :, None], 3, 2), mask


@real_data
@pytest.mark.parametrize(("darkest", "brightest"), [
    (0, 255), (225, 255), (0, 10), (100, 160),
    *(pytest.param(*values, marks=pytest.mark.exhaustive) for values in ((120, 255), (245, 255), (0, 30), (200, 210)))])
def test_cut_outs_of_any_brightness_are_what_the_image_is(darkest, brightest):
    data, model = load_fashion_mnist("train"), load_pretrained()
    X = data.images[40_000:40_150]
    photos = []
    for image in X:
        garment, alpha = (Image.fromarray(part).resize((280, 280), Image.Resampling.BICUBIC)
                          for part in (image, (image > 20) * np.uint8(255)))
        values = (brightest - (brightest - darkest) / 255 * np.asarray(garment, dtype=float)).round().astype(np.uint8)
        photos.append(np.dstack([values, values, values, np.asarray(alpha)]))
    assert (model.predict(PhotoToFashion().transform(photos)) == model.predict(X)).mean() >= 0.9


def test_what_is_under_transparency_and_who_is_opaque_does_not_matter():
    photo, mask = shirt()
    opaque = np.dstack([photo, np.full(mask.shape, 255, dtype=np.uint8)])
    np.testing.assert_array_equal(one(opaque), one(photo))
    images = [one(np.dstack([np.where(mask[:, :, None], photo, under), mask * np.uint8(255)]).astype(np.uint8))
              for under in (0, 120, 255)]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])
    with pytest.warns(UserWarning, match="shows nothing but its background"):
        assert not one(np.zeros((20, 20, 4), dtype=np.uint8)).any()


FRAMES = {"letterbox": (60, 60, 0, 0, "black"), "a screen": (250, 300, 0, 0, "black"),
          "pillars": (0, 0, 70, 70, "black"), "a bar": (80, 0, 0, 0, "navy"),
          "frame": (25, 25, 25, 25, (180, 30, 40)), "uneven": (10, 50, 5, 30, (90, 200, 90))}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("paper", [255, 210, 30])
def test_frames_and_bars_are_trimmed_first(frame, format, paper, tmp_path):
    photo, _ = shirt(paper=paper, gray=60 if paper > 99 else 200)
    top, bottom, left, right, colour = frame
    framed = Image.new("RGB", (240 + left + right, 300 + top + bottom), colour)
    framed.paste(Image.fromarray(photo), (left, top))
    framed.save(tmp_path / "a", format, quality=90)
    found = one(tmp_path / "a")
    assert np.abs(found.astype(int) - one(photo)).mean() < 8
    again = Image.new("RGB", (framed.width + 40, framed.height + 40), "teal")          # a frame in a frame
    again.paste(framed, (20, 20))
    assert np.abs(one(again).astype(int) - found).mean() < 8
    assert np.abs(one(framed, trim=False).astype(int) - one(photo, trim=False)).mean() > 20


def test_garments_that_fill_much_of_the_photo_are_no_photos_in_a_frame():
    photo = np.full((300, 240, 3), 240, dtype=np.uint8)
    photo[30:270, 30:210] = 90
    photo[30:70, 30:60] = photo[30:70, 180:210] = 240                   # shoulders
    photo[140:160, 60:180] = 30
    image = one(photo)
    assert (image > 100).mean() > 0.6
    for value in range(40, 250, 30):                                    # shades are no frames
        ramp = np.linspace(value, value - 40, 300)[:, None, None] * np.ones((1, 240, 3))
        ramp[100:200, 80:160] = 255 - value if abs(255 - 2 * value) > 80 else 0
        assert abs(np.flatnonzero(one(ramp.clip(0, 255).astype(np.uint8)).any(0))[0] - 3) <= 2


def test_rectangles_are_warned_of():
    photo = np.full((300, 240, 3), 240, dtype=np.uint8)
    photo[100:200, 80:150] = 90
    with pytest.warns(UserWarning, match=r"X\[0\] shows a rectangle on its background: a picture in a frame, or"):
        one(photo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one(shirt()[0])


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_numbers_in_pictures_are_rounded(scale):
    values = np.linspace(0, 1, 256).reshape(16, 16)
    mode_f = Image.fromarray((values * scale).astype(np.float32))
    found = np.asarray(read_picture(mode_f, "a", max_pixels=1000))
    np.testing.assert_array_equal(found.ravel(), np.arange(256))
    if scale == 255:
        found = np.asarray(read_picture(Image.fromarray((values * 65535).astype(np.int32)), "a", max_pixels=1000))
        np.testing.assert_array_equal(found.ravel(), np.arange(256))


def test_bytes_of_files_are_photos(tmp_path, expected):
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(one((tmp_path / "a.png").read_bytes()), expected)
    with pytest.raises(ValueError, match=r"X\[0\] is not a readable picture"):
        one(b"hello")
    progressive(tmp_path / "a.jpg", 101)
    with pytest.raises(ValueError, match=r"X\[0\] is damaged: a JPEG has at most 100 scans"):
        one((tmp_path / "a.jpg").read_bytes())


@pytest.mark.parametrize(("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90),
                                                   (8, Image.Transpose.ROTATE_270)])
def test_photos_are_turned_as_exif_says(orientation, turn, expected, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(drawing()).transpose(turn).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(one(tmp_path / "a.png").astype(int), expected, atol=1)


def test_damaged_exif_data_are_passed_over(tmp_path, expected):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 40
    Image.fromarray(drawing()).save(path, quality=95, exif=exif)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif") + 14
    for i in range(start, start + 30):
        changed = data.copy()
        changed[i] ^= 0xFF
        path.write_bytes(changed)
        assert one(path).any()


def test_large_photos_are_reduced_first():
    large = np.asarray(Image.fromarray(drawing()).resize((2400, 3600), Image.Resampling.NEAREST))
    assert np.abs(one(large).astype(int) - one(drawing())).mean() < 8


@real_data
def test_photos_made_of_the_data_set_are_recognised():
    data = load_fashion_mnist("test")
    X, y = data.images[:150], data.target[:150]
    photos = []
    for image in X:
        big = Image.fromarray(255 - image).resize((336, 336), Image.Resampling.BICUBIC)
        photo = Image.new("RGB", (500, 460), "white")
        photo.paste(big, (90, 50))
        photos.append(photo)
    model = load_pretrained()
    direct = model.score(X, y)
    assert direct > 0.88
    assert make_pipeline(PhotoToFashion(), model).score(photos, y) > direct - 0.04


# ---------------------------------------------------------------------- what is refused

@pytest.mark.parametrize(("X", "error", "message"), [
    ("shirt.jpg", TypeError, r"X must be a list of photos, such as \['photo.jpg'\], got str"),
    (Image.new("L", (3, 3)), TypeError, "X must be a list of photos"),
    (7, TypeError, "X must be a list of photos, .* got int"),
    ([], ValueError, "X must hold at least one photo, got none"),
    (drawing(), ValueError, r"X must hold photos, but .* shape \(300, 200, 3\) would be 300 photos .* a list, \[X\]"),
    (torch.zeros(30, 40, 4), ValueError, r"shape \(30, 40, 4\) would be 30 photos of 40 x 4 pixels: give"),
    (drawing()[:, :, :1], ValueError, "would be 300 photos of 200 x 1 pixels"),
    ([None], TypeError, r"X\[0\] must be a path, bytes, a Pillow image or an array, got NoneType"),
    (["/nowhere/a.png"], FileNotFoundError, "X must hold paths of photos, but there is no file at '/nowhere/a.png'"),
    ([drawing(), np.zeros((3, 3, 2))], ValueError, r"X\[1\] must have the shape .*, got \(3, 3, 2\)"),
    ({"a": 1}, TypeError, "X must be a list of photos, .* got dict"),
    (pd.DataFrame({"p": [1]}), TypeError, "X must be a list of photos"), (np.array(3), TypeError, "X must be a list"),
    ([np.zeros(5)], ValueError, r"X\[0\] must have the shape .*, got \(5,\)"),
    ([np.zeros((0, 5))], ValueError, r"X\[0\] must have the shape .*, got \(0, 5\)"),
    ([np.full((3, 3), 2.5)], ValueError, r"X\[0\] must hold floats from 0 to 1, or uint8, got 2.5 to 2.5"),
    ([np.full((3, 3), np.nan)], ValueError, r"X\[0\] must hold floats from 0 to 1"),
    ([np.zeros((3, 3), dtype=int)], ValueError, r"X\[0\] must hold uint8, or floats from 0 to 1, got int64"),
    ([np.array([["a"]])], ValueError, r"X\[0\] must hold uint8"),
    ([np.ma.masked_equal(drawing(), 255)], ValueError, r"X\[0\] must not hold masked values, got 154200"),
])
def test_what_is_no_photo_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        PhotoToFashion().fit(X).transform(X)


@pytest.mark.parametrize(("name", "change"), [
    ("a.txt", lambda data: b"hello"), ("a.png", lambda data: data[:200]), ("a.png", lambda data: data[:60]),
    ("a.png", lambda data: data[:100] + b"\0" * 50 + data[150:]), ("a.jpg", lambda data: b""),
    ("a.svg", lambda data: b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ("a.eps", lambda data: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
], ids=["text", "cut", "header", "zeros", "empty", "svg", "eps"])
def test_damaged_and_other_files_are_refused(name, change, tmp_path):
    path = tmp_path / "good.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    bad = tmp_path / f"bad_{name}"
    bad.write_bytes(change(path.read_bytes()))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"bad_.* is (damaged|not a readable)"):
            PhotoToFashion().transform([path, bad])
        gc.collect()
    assert [str(warning.message) for warning in seen if warning.category is ResourceWarning] == []      # of open files
    with pytest.raises(FileNotFoundError, match="there is no file at"):
        PhotoToFashion().transform([tmp_path])


def test_tiff_is_not_read(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a.tiff is not a readable picture \(BMP, GIF, JPEG, PNG, PPM, WEBP.*\)"):
        one(tmp_path / "a.tiff")


def progressive(path, n_scans, photo=None):
    """A JPEG whose last scan is there again and again, n_scans in all, and which a video follows, as phones add it."""
    Image.fromarray(drawing() if photo is None else photo).save(path, progressive=True, quality=95)
    data = path.read_bytes()
    last = data[data.rindex(b"\xff\xda"):-2]
    path.write_bytes(data[:-2] + last * (n_scans - data.count(b"\xff\xda")) + b"\xff\xd9" + b"\xff\xda" * 1000)


def test_a_jpeg_may_have_so_many_scans(tmp_path, expected):
    progressive(tmp_path / "a.jpg", 100)
    np.testing.assert_allclose(one(tmp_path / "a.jpg").astype(int), expected, atol=12)
    progressive(tmp_path / "a.jpg", 101)
    with pytest.raises(ValueError, match=r"a.jpg is damaged: a JPEG has at most 100 scans"):
        one(tmp_path / "a.jpg")


def test_scans_of_a_thumbnail_do_not_count(tmp_path, expected):
    exif = Image.Exif()
    exif[0x010E] = "x"
    Image.fromarray(drawing()).save(tmp_path / "a.jpg", quality=95, exif=exif.tobytes() + b"\xff\xda" * 1000)
    np.testing.assert_allclose(one(tmp_path / "a.jpg").astype(int), expected, atol=12)


def test_threads_leave_the_filters_of_warnings_alone(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: one(tmp_path / "a.png"), range(200)))
    assert warnings.filters == before


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="there is no file at"):
        PhotoToFashion().transform([tmp_path / "a.png"])


def bomb(path, side):
    """A PNG of a few kilobytes that says it has side x side pixels, and has the zeros to fill them."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    rows, compress = [], zlib.compressobj(9)
    for _ in range(side):
        rows.append(compress.compress(b"\0" * (side + 1)))
    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(
        b"IDAT", b"".join(rows) + compress.flush()) + chunk(b"IEND", b""))


def test_bombs_are_refused_within_little_memory(tmp_path):
    bomb(tmp_path / "bomb.png", 12_000)
    assert (tmp_path / "bomb.png").stat().st_size < 200_000
    code = textwrap.dedent(f"""
        import resource, sys
        from fmnist_sk import PhotoToFashion
        from PIL import Image, ImageFilter, ImageOps
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            PhotoToFashion().transform([{str(tmp_path / "bomb.png")!r}])
        except ValueError as error:
            print(error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
        """)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "bomb.png" in out[0]
    assert "max_pixels=50,000,000" in out[0]
    assert int(out[1]) < 30                                             # MiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_the_limit_of_pixels_can_be_set(tmp_path):
    array = np.zeros((100, 100), dtype=np.uint8)
    array[20:80, 20:80] = 200
    Image.fromarray(array).save(tmp_path / "a.png")
    for photo in (tmp_path / "a.png", array, Image.fromarray(array)):
        assert one(photo, max_pixels=10_000).shape == (28, 28)
        with pytest.raises(ValueError, match="must have from 1 to max_pixels=9,999 pixels, got 100 x 100"):
            one(photo, max_pixels=9_999)


@pytest.mark.parametrize("params", [{"size": 3}, {"background": "red"}, {"tolerance": 2}, {"max_pixels": 0},
                                    {"max_pixels": 10**9}, {"sharpen": "yes"}, {"trim": None}])
def test_parameters_are_checked(params):
    name, = params
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        PhotoToFashion(**params).fit()
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        PhotoToFashion(**params).transform([drawing()])


def test_inputs_stay_as_they_are(expected):
    photo, image = drawing(), Image.fromarray(drawing())
    transformer = clone(PhotoToFashion())
    np.testing.assert_array_equal(transformer.transform([photo, image]), [expected, expected])
    np.testing.assert_array_equal(photo, drawing())
    np.testing.assert_array_equal(np.asarray(image), drawing())
    np.testing.assert_array_equal(transformer.transform(pd.Series([photo])), [expected])
    np.testing.assert_array_equal(transformer.transform(np.stack([photo, photo])), [expected, expected])


def test_without_pillow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Photos are read with Pillow: pip install 'fmnist_sk\[photo\]'"):
        PhotoToFashion().transform([drawing()])


def test_a_flipped_bit_of_a_png_is_noticed(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for i in range(len(whole) - 30, len(whole) - 12):           # the last pixels and what follows them in their chunk
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1:])
        with pytest.raises(ValueError, match=r"photo.png is not a readable picture .*: broken PNG file"):
            PhotoToFashion().transform([str(path)])

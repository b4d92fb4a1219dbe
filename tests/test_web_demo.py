"""examples/web_demo.py, in a real browser and over its API."""
import base64
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import EXAMPLES, fails
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import fmnist_sk
from fmnist_sk import CLASS_NAMES, ConvNetClassifier, ImageReader, PhotoToFashion, load_pretrained, save

with warnings.catch_warnings():             # of gradio's and its packages' own code
    warnings.simplefilter("ignore")
    httpx = pytest.importorskip("httpx", reason="gradio is not installed")
    gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed")
    pytest.importorskip("gradio")

PICTURES = EXAMPLES / "pictures"
SECONDS = 60                                # that a page may take to answer on a busy machine


# ---------------------------------------------------------------------- what a model makes of a photo

@pytest.fixture
def web_demo(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import web_demo
    return web_demo


def two_colours(n=60, height=12):
    """Images (n, 3, height, 12) that are red or blue, and which."""
    X = np.random.default_rng(0).integers(0, 90, (n, 3, height, 12), dtype=np.uint8)
    y = np.array(["blue", "red"])[np.arange(n) % 2]
    X[y == "red", 0] += 150
    X[y == "blue", 2] += 150
    return X, y


RED = Image.new("RGB", (300, 200), (220, 40, 40))


def conv(**params):
    return ConvNetClassifier(architecture="8C3-16N", max_epochs=15, lr=0.01, random_state=0, **params)


@pytest.mark.parametrize("kind", ["network", "reads photos", "searches", "votes", "votes hard", "floats", "not square"])
def test_a_model_of_other_images_answers_in_its_own_classes(kind, web_demo, tmp_path):
    X, y = two_colours(height=14 if kind == "not square" else 12)
    reads = make_pipeline(ImageReader(12, "rgb"), conv())
    model = {"reads photos": reads, "searches": GridSearchCV(reads, {"convnetclassifier__lr": [0.01]}, cv=2),
             "votes": VotingClassifier([("a", conv())], voting="soft"),
             "votes hard": VotingClassifier([("a", conv())])}.get(kind, conv())
    as_photos = kind in ("reads photos", "searches")
    model.fit(list(np.moveaxis(X, 1, 3)) if as_photos else X / np.float32(255) if kind == "floats" else X, y)
    reader, model = web_demo.open_model(save(model, tmp_path / "model.safetensors"))
    assert (reader is not None) == as_photos
    answer, seen, evidence, told = web_demo.Look(model, reader)(RED)
    if kind == "votes hard":
        assert answer == "red"
    else:
        assert list(answer) == ["blue", "red"]
        assert answer["red"] > 0.8
    picture = picture_in(seen)
    assert picture[5, 5].tolist() == [220, 40, 40]
    assert picture.shape == (*X.shape[2:], 3)
    assert (evidence is None) == ("votes" in kind)
    assert told == ""


def picture_in(html):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(re.search("base64,([^\"]+)", html)[1]))))


def test_a_model_of_rows_gets_rows(web_demo, tiny_images):
    X, y = tiny_images()
    answer, seen, evidence, _ = web_demo.Look(LogisticRegression(max_iter=1000).fit(X.reshape(len(X), -1), y))(X[1])
    assert list(answer) == ["0", "1", "2"]
    assert answer["1"] > 0.8
    assert picture_in(seen).shape == (8, 8, 3)
    assert evidence is None


def test_a_model_of_garments_names_them(web_demo):
    for reader in (None, PhotoToFashion(background="light")):
        look = web_demo.Look(load_pretrained(), reader, "fashion")
        answer, *_ = look(PICTURES / "sneaker.jpg")
        assert tuple(answer) == CLASS_NAMES
        expected = make_pipeline(look.reader, load_pretrained()).predict_proba([PICTURES / "sneaker.jpg"])[0]
        np.testing.assert_allclose(list(answer.values()), expected)
    assert look.reader.background == "light"
    answer, *_, told = look(Image.new("RGB", (50, 50), "white"))
    assert answer is None
    assert "nothing but its background" in told
    with pytest.raises(ValueError, match="its classes are numbers from 0 to 9: say --photos fashion if they are those"):
        web_demo.Look(load_pretrained())            # digits, perhaps
    assert list(web_demo.Look(load_pretrained(), photos="plain").names) == [str(code) for code in range(10)]


def test_models_that_no_photo_can_be_shown_to_are_refused(web_demo, tiny_images):
    X, y = tiny_images(channels=5)
    with pytest.raises(ValueError, match=r"must take pictures in gray or RGB.*\(5, 8, 8\)"):
        web_demo.Look(conv().fit(X, y))


# ---------------------------------------------------------------------- the page

@contextmanager
def serve(folder, *options):
    """The script at work: the page's address, and a function that lists the pictures that it keeps."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)       # which background jobs of a shell ignore
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "web_demo.py", "--port", address[17:-1], *options], text=True, cwd=folder,
        stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder),
                                     "PYTHONPATH": str(Path(fmnist_sk.__file__).parent.parent)})
    signal.signal(signal.SIGINT, before)
    examples = {"sneaker.jpg", "dress.png"}         # that the page offers
    try:
        assert process.stdout.readline() == f"The page is at {address} (Ctrl-C ends it)\n"
        yield address, lambda: [path for path in Path(folder).rglob("*.*") if path.is_file() and
                                path.name not in examples]
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert not [path for path in Path(folder).rglob("*") if path.is_file()]
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Address of the page with the pretrained network."""
    with serve(tmp_path_factory.mktemp("page")) as (address, _):
        yield address


def visit(address, path):
    """What the page answers: labels, what it sees, the evidence, and what it says."""
    client = gradio_client.Client(address, verbose=False, download_files=False)
    return client.predict(gradio_client.handle_file(path), api_name="/look")


def ask(address, path):
    """Labels and probabilities that the page answers."""
    return [(row["label"], row["confidence"]) for row in visit(address, path)[0]["confidences"]]


def photos(folder, n):
    """n photos of garments of different sizes and shades of background, written to `folder`."""
    paths = []
    for number in range(n):
        with Image.open(PICTURES / ("sneaker.jpg", "dress.png")[number % 2]) as garment:
            photo = garment.convert("RGB").resize((150 + 5 * number, 160 + 3 * number))
        paths.append(folder / f"{number}.png")
        photo.save(paths[-1])
    return paths


def test_twenty_people_at_once_get_the_answers_to_their_photos(page, tmp_path):
    paths = photos(tmp_path, 20)
    expected = make_pipeline(PhotoToFashion(), load_pretrained()).predict_proba(paths)
    assert len(np.unique(expected, axis=0)) == 20

    with ThreadPoolExecutor(20) as people:
        answers = list(people.map(lambda path: ask(page, path), paths))
    for answer, proba in zip(answers, expected, strict=True):
        top = np.argsort(proba)[::-1][:3]
        names, values = zip(*answer, strict=True)
        assert list(names) == [CLASS_NAMES[code] for code in top]
        np.testing.assert_allclose(values, proba[top], atol=1e-6)


def test_twenty_people_with_one_photo_get_whole_answers(page):
    with ThreadPoolExecutor(20) as people:
        answers = list(people.map(lambda _: visit(page, PICTURES / "sneaker.jpg"), range(20)))
    for answer, seen, evidence, _ in answers:
        assert answer["label"] == "Sneaker"
        assert picture_in(seen).shape == picture_in(evidence).shape == (28, 28, 3)


def test_other_files_of_the_machine_are_not_read(page, tmp_path):
    Image.new("RGB", (60, 60), "red").save(tmp_path / "secret.png")
    for path in (tmp_path / "secret.png", "", "/etc/passwd"):
        sent = httpx.post(f"{page}gradio_api/call/look", json={"data": [{"path": str(path)}]}).json()
        with httpx.stream("GET", f"{page}gradio_api/call/look/{sent['event_id']}") as answer:
            assert "base64" not in answer.read().decode()


def test_only_this_machine_is_served(page):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("192.0.2.1", 9))           # sends nothing, tells our address in the network
        address = outward.getsockname()[0]
    with socket.socket() as visitor:
        visitor.settimeout(5)
        assert visitor.connect_ex((address, int(page[17:-1]))) != 0


def test_a_saved_model_is_served_and_photos_are_not_kept(tmp_path):
    X, y = two_colours()
    names = np.array(["<b>blue", "![red](http://192.0.2.1/red.png)"])[(y == "red").astype(int)]
    model = save(conv().fit(X, names), tmp_path / "colours.safetensors")
    RED.save(tmp_path / "photo.png")
    (tmp_path / "temporary").mkdir()
    with serve(tmp_path / "temporary", model, "--keep", "2") as (address, kept):
        assert ask(address, tmp_path / "photo.png")[0][0] == "![red](http://192.0.2.1/red.png)"
        assert kept()
        config = gradio_client.Client(address, verbose=False).config["components"]
        subtitle = next(part["props"]["value"] for part in config if part["type"] == "html")
        assert "tells ![red](http://192.0.2.1/red.png), &lt;b&gt;blue apart" in subtitle          # as it is
        end = time.monotonic() + SECONDS
        while kept() and time.monotonic() < end:
            time.sleep(0.2)
        assert not kept()


@pytest.mark.parametrize(("options", "message"), [
    (["none.safetensors"], "there is none at 'none.safetensors'"),
    (["--keep", "-1"], "--keep must be from 1 to 1000000000, got -1"),
])
def test_bad_options_are_refused(options, message, tmp_path):
    assert message in fails("web_demo.py", *options, cwd=tmp_path)


# ---------------------------------------------------------------------- in a browser

@pytest.fixture
def browser(page):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    paths = shutil.which("chromium"), shutil.which("chromedriver")
    if None in paths:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900",
                     "--enable-unsafe-swiftshader", "--use-fake-ui-for-media-stream",
                     "--use-fake-device-for-media-stream"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    driver.get(page)
    yield driver
    driver.quit()


def wait_for(browser, text, selector):
    """Wait until an element holds the text."""
    from selenium.webdriver.support.ui import WebDriverWait

    def holds(browser):
        found = browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)",
                                       selector)
        return any(text in element for element in found)

    WebDriverWait(browser, SECONDS).until(holds, f"{text!r} in {selector}")


def find(browser, selector):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, SECONDS).until(lambda browser: browser.find_element("css selector", selector))


def press(browser, text):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, SECONDS).until(lambda browser: [
        button for button in browser.find_elements("css selector", "button") if button.text == text])[0].click()


def send(browser, page, path):
    browser.get(page)
    find(browser, "#photo input[type=file]").send_keys(str(path))


def test_a_photo_is_answered_in_the_browser(page, browser, tmp_path):
    send(browser, page, PICTURES / "sneaker.jpg")
    wait_for(browser, "Sneaker", "#answer")
    wait_for(browser, "Ankle boot", "#answer")
    for name in ("seen", "evidence"):
        assert find(browser, f"#{name} img").is_displayed()
    for name, width, height in [("wide", 1280, 700), ("narrow", 400, 1140)]:       # as in examples/pictures/
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        browser.save_screenshot(tmp_path / f"{name}.png")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    foreign = [entry["message"] for entry in browser.get_log("performance")
               if '"Network.requestWillBeSent"' in entry["message"] and '"url":"http' in entry["message"]
               and page not in entry["message"]]
    assert not foreign              # nothing is fetched from anywhere else


def test_what_is_no_photo_ends_in_a_sentence_on_the_page(page, browser, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    photo = (PICTURES / "sneaker.jpg").read_bytes()
    (tmp_path / "large.jpg").write_bytes(photo + bytes(21 * 2**20 - len(photo)))
    for name, message in [("text.png", "The picture is not a readable picture"),
                          ("bomb.png", "The picture is too large, more than max_pixels=50,000,000")]:
        send(browser, page, tmp_path / name)
        wait_for(browser, message, "#told")
    send(browser, page, tmp_path / "large.jpg")
    wait_for(browser, "exceed the maximum allowed size of 20", ".toast-body")
    send(browser, page, PICTURES / "dress.png")         # and the page goes on
    wait_for(browser, "Dress", "#answer h2")
    find(browser, "button.gallery-item").click()        # the first of its examples
    wait_for(browser, "Sneaker", "#answer h2")


def test_the_camera_and_a_drawing_are_answered(page, browser):
    from selenium.webdriver.common.action_chains import ActionChains

    find(browser, "#photo button[aria-label='Capture from camera']").click()
    press(browser, "Click to Access Webcam")
    find(browser, "#photo button[aria-label='capture photo']").click()
    wait_for(browser, "%", "#answer")

    browser.get(page)
    press(browser, "Draw")
    find(browser, "#drawing button[aria-label=Brush]").click()
    canvas = find(browser, "#drawing canvas")
    trousers = [(-40, 100), (-40, -80), (-20, -80), (-20, 0), (0, -80), (20, 0), (20, -80), (40, -80), (40, 100)]
    strokes = ActionChains(browser).move_to_element_with_offset(canvas, *trousers[0]).click_and_hold()
    for x, y in trousers:
        strokes = strokes.move_to_element_with_offset(canvas, x, y)
    strokes.release().perform()
    press(browser, "What is it?")
    wait_for(browser, "Trouser", "#answer h2")

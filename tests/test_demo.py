"""The demo program reads a video and writes an annotated one."""
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from estimators import small
from fashion import real_data
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from fmnist_sk import ImageScaler, load_fashion_mnist

SCRIPT = Path(__file__).parent.parent / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        spec.loader.exec_module(module)
    return module


def make_video(path, image, n_frames=12, size=(320, 240)):
    """A garment of the data set, held in front of a white wall with a little movement."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, size)
    garment = cv2.resize(255 - image, (112, 112), interpolation=cv2.INTER_CUBIC)
    for i in range(n_frames):
        frame = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
        top, left = 64 + i % 3, 104 + i % 4
        frame[top:top + 112, left:left + 112] = garment[:, :, None]
        writer.write(frame)
    writer.release()


def frames_of(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame)


@real_data
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_writes_what_it_sees(demo, tmp_path, suffix, capsys):
    data = load_fashion_mnist("test")
    trouser = data.images[np.flatnonzero(data.target == 1)[0]]
    make_video(tmp_path / "clip.avi", trouser)
    target = tmp_path / f"out{suffix}"
    demo.main(["--video", str(tmp_path / "clip.avi"), "--headless", "--write", str(target)])
    out = capsys.readouterr().out
    assert "12 frames, " in out
    assert " a second: Trouser in 12" in out
    assert f"wrote {target}" in out
    before, after = frames_of(tmp_path / "clip.avi"), frames_of(target)
    assert len(after) == len(before) == 12
    assert after[0].shape == before[0].shape
    left, top, side = demo.rectangle(before[0])
    for x, y in ((left, top + 60), (left + side, top + 60), (left + 30, top), (left + 30, top + side)):
        blue, green, red = after[5][y, x].astype(int)
        assert blue > 150
        assert max(green, red) < 110                                           # the rectangle
    assert np.abs(after[5][:30, :150].astype(int) - before[5][:30, :150]).max() > 150         # the answer
    assert after[5][-35:, -35:].mean() < 200                                   # what the network sees
    inside = np.s_[top + 60:top + side - 60, left + 30:left + side - 30]
    np.testing.assert_allclose(after[5][inside].astype(int), before[5][inside], atol=60)      # the garment itself


@real_data
def test_stops_after_so_many_frames(demo, tmp_path, capsys):
    make_video(tmp_path / "clip.avi", load_fashion_mnist("test").images[0])
    demo.main(["--video", str(tmp_path / "clip.avi"), "--headless", "--write", str(tmp_path / "o.avi"), "--frames", "3",
               "--background", "light"])
    assert "3 frames" in capsys.readouterr().out
    assert len(frames_of(tmp_path / "o.avi")) == 3


def test_ctrl_c_ends_it_as_the_end_of_the_video_does(demo, tmp_path, capsys, monkeypatch):
    make_video(tmp_path / "clip.avi", np.full((28, 28), 200, dtype=np.uint8))
    annotate, calls = demo.Annotator.__call__, []

    def interrupted(self, frame):
        calls.append(frame)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return annotate(self, frame)

    monkeypatch.setattr(demo.Annotator, "__call__", interrupted)
    demo.main(["--video", str(tmp_path / "clip.avi"), "--headless", "--write", str(tmp_path / "o.avi")])
    out = capsys.readouterr().out
    assert "5 frames, " in out
    assert f"wrote {tmp_path / 'o.avi'}" in out
    assert len(frames_of(tmp_path / "o.avi")) == 5


@pytest.mark.parametrize("around", [lambda net: net, lambda net: make_pipeline(ImageScaler(), net),
                                    lambda net: make_pipeline(ImageScaler(), FrozenEstimator(net))],
                         ids=["classifier", "pipeline", "frozen"])
def test_predicts_on_one_thread(demo, around):
    net = small("ConvNetClassifier")
    assert demo.on_one_thread(around(net))
    assert net.n_threads == 1


def test_other_models_are_left_alone(demo):
    model = make_pipeline(ImageScaler(), DummyClassifier())
    before = str(model.get_params())
    assert demo.on_one_thread(model) is model
    assert str(model.get_params()) == before


def test_the_model_predicts_on_one_thread(demo, tmp_path, monkeypatch):
    make_video(tmp_path / "clip.avi", np.full((28, 28), 200, dtype=np.uint8), n_frames=1)
    used = []
    monkeypatch.setattr(demo, "Annotator", lambda model, background: used.append(model) or (lambda frame: ("a", 1.0)))
    demo.main(["--video", str(tmp_path / "clip.avi"), "--headless", "--write", str(tmp_path / "o.avi")])
    assert [model.n_threads for model in used] == [1]


def test_a_video_is_only_replaced_when_that_is_asked_for(demo, tmp_path, capsys):
    make_video(tmp_path / "clip.avi", np.full((28, 28), 200, dtype=np.uint8), n_frames=1)
    command = ["--video", str(tmp_path / "clip.avi"), "--headless", "--write", str(tmp_path / "o.avi")]
    (tmp_path / "o.avi").write_text("another")
    with pytest.raises(SystemExit) as stop:
        demo.main(command)
    assert stop.value.code == 2
    assert f"--write holds results of another run, {tmp_path / 'o.avi'}: give another, or --overwrite" in \
        capsys.readouterr().err
    assert (tmp_path / "o.avi").read_text() == "another"
    demo.main([*command, "--overwrite"])
    assert (tmp_path / "o.avi").read_bytes() != b"another"


def test_an_input_that_cannot_be_read_is_named(demo, tmp_path, capsys):
    """OpenCV opens a file that is named like a picture without a look at it."""
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    with pytest.raises(SystemExit) as stop:
        demo.main(["--video", str(path), "--headless", "--write", str(tmp_path / "o.mp4")])
    assert stop.value.code == 2
    assert f"no frame of {path} can be read" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_answers_are_smoothed(demo):
    class Model:
        classes_ = np.array(["a", "b"])
        answers = iter([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])

        def predict_proba(self, X):
            assert X.shape == (1, 28, 28)
            return np.array([next(self.answers)])

    annotator = demo.Annotator(Model(), smoothing=0.75)
    frame = np.full((120, 160, 3), 255, dtype=np.uint8)
    frame[40:80, 60:100] = 0
    found = [annotator(frame.copy()) for _ in range(3)]
    assert [name for name, _ in found] == ["a", "a", "a"]
    assert [probability for _, probability in found] == pytest.approx([1.0, 0.75, 0.5625])
    empty = np.full((120, 160, 3), 255, dtype=np.uint8)
    Model.answers = iter([[1.0, 0.0]])
    assert annotator(empty)[0] == "nothing"
    assert [annotator.switch_background() or annotator.photos.background for _ in range(3)] == ["light", "dark", "auto"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--headless"], "--headless needs --write"),
    (["--headless", "--write", "o.gif"], "--write must end in .mp4 or .avi, got o.gif"),
    (["--video", "nowhere.mp4"], "there is no video nowhere.mp4"),
    (["--video", str(SCRIPT), "--headless", "--write", "o.mp4"], "is not a video that OpenCV can read"),
    (["--camera", "99", "--headless", "--write", "o.mp4"], "camera 99 cannot be opened"),
    (["--video", str(SCRIPT), "--write", str(SCRIPT.with_name("x")) + "/../demo.py"], "--write must end in"),
    (["--frames", "0"], "--frames must be at least 1, got 0"),
    (["--model", "nowhere.safetensors"], "path must name a file that save"),
])
def test_errors_are_sentences(demo, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        demo.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

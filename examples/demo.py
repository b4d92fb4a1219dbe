"""Classify a camera's picture live: hold a garment in the blue rectangle.

    python examples/demo.py                                             # the first camera, in a window
    python examples/demo.py --video clip.mp4                            # a video file, in a window
    python examples/demo.py --video clip.mp4 --headless --write out.mp4 # no window: write an annotated video

Shows the most probable class with its probability, the two next best, frames per second, and in the corner what the
network sees. Keys: q, Esc or Ctrl-C quits, s saves the picture, b switches between light, dark and automatic
background. A plain background of one colour works best. Modelled on report 3's demo program. Needs the extra
fmnist_sk[demo].
"""
import argparse
import contextlib
import itertools
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from _models import MODEL_HELP, load_model
from _output import check_free
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from fmnist_sk import CLASS_NAMES, ImageClassifier, PhotoToFashion

try:
    import cv2
except ImportError:
    raise SystemExit("The demo needs OpenCV: pip install 'fmnist_sk[demo]'") from None

BLUE, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)        # OpenCV's order: blue, green, red
TITLE = "fmnist_sk: hold a garment in the rectangle (q quits)"
BACKGROUNDS = "auto", "light", "dark"


class Annotator:
    """Classifies what is in the rectangle of each frame, and draws the answer into the frame.

    `smoothing` is the share of the last answer that stays in the next one, so that the text does not flicker.
    """

    def __init__(self, model, background="auto", smoothing=0.6):
        self.model, self.smoothing = model, smoothing
        self.photos = PhotoToFashion(background=background)
        self.names = [CLASS_NAMES[label] if label in range(10) else str(label) for label in model.classes_.tolist()]
        self.probabilities = None
        self.last, self.rate, self.is_empty = None, 0.0, False

    def __call__(self, frame):
        """The frame (height, width, 3), annotated in place. Returns the name of the class and its probability."""
        left, top, side = rectangle(frame)
        inside = frame[top:top + side, left:left + side]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                             # that there is nothing, which is drawn
            image = self.photos.transform([cv2.cvtColor(inside, cv2.COLOR_BGR2RGB)])
            found = self.model.predict_proba(image)[0]
        self.is_empty = not image.any()
        self.probabilities = found if self.probabilities is None else (
            self.smoothing * self.probabilities + (1 - self.smoothing) * found)
        now = time.perf_counter()
        if self.last is not None:
            rate = 1 / max(1e-6, now - self.last)
            self.rate = 0.9 * self.rate + 0.1 * rate if self.rate else rate
        self.last = now
        self._draw(frame, image[0], left, top, side)
        best = int(self.probabilities.argmax())
        return ("nothing", 0.0) if self.is_empty else (self.names[best], float(self.probabilities[best]))

    def _draw(self, frame, image, left, top, side):
        height = frame.shape[0]
        size = max(0.4, height / 700)
        thickness = max(1, round(2 * size))
        cv2.rectangle(frame, (left, top), (left + side, top + side), BLUE, max(2, 2 * thickness))
        best = np.argsort(-self.probabilities)[:3]
        for line, i in enumerate(() if self.is_empty else best):
            write(frame, f"{self.names[i]} {self.probabilities[i]:.0%}", (10, round((45 + 42 * line) * size)),
                  size * (1.2 if line == 0 else 0.8), thickness)
        if self.is_empty:
            write(frame, "nothing in the rectangle", (10, round(45 * size)), size, thickness)
        write(frame, f"{self.rate:.0f} frames/s, background {self.photos.background}", (10, height - round(15 * size)),
              size * 0.7, thickness)
        seen = cv2.resize(image, (height // 6, height // 6), interpolation=cv2.INTER_NEAREST)
        frame[-len(seen):, -len(seen):] = seen[:, :, None]

    def switch_background(self):
        self.photos.background = BACKGROUNDS[(BACKGROUNDS.index(self.photos.background) + 1) % 3]


def on_one_thread(model):
    """The model; its network predicts with one CPU thread: for one image, more would only wait for each other."""
    network = model
    while isinstance(network, (Pipeline, FrozenEstimator)):
        network = network[-1] if isinstance(network, Pipeline) else network.estimator
    if isinstance(network, ImageClassifier):
        network.set_params(n_threads=1)
    return model


def rectangle(frame):
    """Left, top and side of the square in the middle."""
    height, width = frame.shape[:2]
    side = round(0.7 * min(height, width))
    return (width - side) // 2, (height - side) // 2, side


def write(frame, text, place, size, thickness):
    """White letters on black, readable on any picture; `place` is left and bottom of the letters."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    left, bottom = place
    cv2.rectangle(frame, (left - 6, bottom - height - 6), (left + width + 6, bottom + below + 2), BLACK, cv2.FILLED)
    cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, WHITE, thickness, cv2.LINE_AA)


def frames_of(capture):
    """Frame after frame (height, width, 3), until the video ends."""
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        yield frame


def run(frames, annotator, writer, window, output):
    """Annotate frame after frame until they end, or a key or Ctrl-C says so. Returns the names."""
    names, saved = [], 0
    with contextlib.suppress(KeyboardInterrupt):
        for frame in frames:
            name, probability = annotator(frame)
            if writer is not None:
                writer.write(frame)
            names.append(name)
            if window:
                cv2.imshow(TITLE, frame)
                key = cv2.waitKey(1) & 0xFF
                closed = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
                if key in (ord("q"), 27) or closed:
                    break
                if key == ord("b"):
                    annotator.switch_background()
                if key == ord("s"):
                    saved += 1
                    output.mkdir(parents=True, exist_ok=True)
                    path = output / f"{time.strftime('%Y%m%d-%H%M%S')}-{saved}-{name.replace('/', '-')}.png"
                    cv2.imwrite(str(path), frame)
                    print(f"wrote {path}: {name}, {probability:.0%}")
    return names


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camera", type=int, default=0, help="number of the camera (default: 0)")
    parser.add_argument("--video", type=Path, help="a video file instead of a camera")
    parser.add_argument("--headless", action="store_true", help="no window")
    parser.add_argument("--write", type=Path, metavar="PATH", help="write the annotated video to this .mp4 or .avi")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing video")
    parser.add_argument("--frames", type=int, help="stop after this many frames")
    parser.add_argument("--model", default="pretrained", help=f"{MODEL_HELP} (default: pretrained)")
    parser.add_argument("--background", choices=BACKGROUNDS, default="auto", help="background behind the garment "
                        "(default: auto)")
    parser.add_argument("--output", type=Path, default=Path("output/demo"), help="folder for saved pictures")
    args = parser.parse_args(argv)
    writer, source = None, args.camera if args.video is None else str(args.video)
    try:
        if args.headless and args.write is None:
            raise ValueError("--headless needs --write, or there would be no output")
        if args.write is not None and args.write.suffix.lower() not in (".mp4", ".avi"):
            raise ValueError(f"--write must end in .mp4 or .avi, got {args.write}")
        if args.video is not None and not args.video.is_file():
            raise FileNotFoundError(f"there is no video {args.video}")
        if args.video is not None and args.write is not None and args.write.resolve() == args.video.resolve():
            raise ValueError("--write must not name the file of --video")
        if args.write is not None:
            check_free([args.write], args.overwrite, "--write")
        if args.frames is not None and args.frames < 1:
            raise ValueError(f"--frames must be at least 1, got {args.frames}")
        model = on_one_thread(load_model(args.model, needs_probabilities=True))
        annotator = Annotator(model, args.background)
        capture = cv2.VideoCapture(source)
        if not capture.isOpened():
            raise OSError(f"camera {args.camera} cannot be opened" if args.video is None else
                          f"{args.video} is not a video that OpenCV can read")
        frames = frames_of(capture)
        first = next(frames, None)
        if first is None:
            raise OSError(f"no frame of {f'camera {args.camera}' if args.video is None else args.video} can be read")
        frames = itertools.islice(itertools.chain([first], frames), args.frames)
        if args.write is not None:
            args.write.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter_fourcc(*("mp4v" if args.write.suffix.lower() == ".mp4" else "MJPG"))
            writer = cv2.VideoWriter(str(args.write), code, capture.get(cv2.CAP_PROP_FPS) or 25.0,
                                     (first.shape[1], first.shape[0]))
            if not writer.isOpened():
                raise OSError(f"{args.write} cannot be written")
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    start = time.perf_counter()
    try:
        names = run(frames, annotator, writer, not args.headless, args.output)
    except (cv2.error, ImportError) as error:
        reason = "" if isinstance(error, ImportError) else "no window can be opened; --headless needs none: "
        parser.exit(2, f"{parser.prog}: error: {reason}{error}\n")
    finally:
        capture.release()
        if writer is not None:
            writer.release()
        if not args.headless:
            with contextlib.suppress(cv2.error):            # an OpenCV without windows
                cv2.destroyAllWindows()
    if names:
        seconds = time.perf_counter() - start
        print(f"{len(names)} frame{'s' * (len(names) > 1)}, {len(names) / seconds:.1f} a second: " + ", ".join(
            f"{name} in {count}" for name, count in Counter(names).most_common(3)))
    if writer is not None:
        print(f"wrote {args.write}")


if __name__ == "__main__":
    main()

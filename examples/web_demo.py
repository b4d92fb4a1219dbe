"""A web page to try a model: drop a photo, use the camera or draw, and see the prediction.

    python examples/web_demo.py                                    # the network that comes with the package
    python examples/web_demo.py output/mine/model.safetensors      # one of your own

Shows the three most probable classes, the image that the network gets, and where in it the evidence lies (Grad-CAM).
Needs pip install 'fmnist_sk[web]'. The page is served to this machine only, unless --host says otherwise. Photos are
deleted after ten minutes (--keep), and when this script ends.
"""
import argparse
import base64
import html
import io
import os
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
from _models import MODEL_HELP, PRETRAINED, open_model, reader_for

from fmnist_sk import CLASS_NAMES, PhotoToFashion, grad_cam

try:
    import gradio
    from matplotlib import colormaps
    from PIL import Image
except ImportError as error:
    raise SystemExit(f"This script needs {error.name}: pip install 'fmnist_sk[web]'") from None

LARGEST_FILE = 20 * 2**20           # bytes
TITLE = "What is in this photo?"
GARMENTS = "One garment on a plain background works best. The model knows ten kinds of clothes and nothing else: " \
           "it will call even a cat one of them."
SHADES = ["#202020", "#707070", "#b0b0b0", "#ffffff"]
PICTURES = [str(Path(__file__).resolve().parent / "pictures" / name) for name in ("sneaker.jpg", "dress.png")]
FONTS = ["system-ui", "sans-serif"]                 # none that would have to be fetched from elsewhere


class Look:
    """The prediction of a model for a photo. For one thread at a time; others wait.

    model : a classifier
    reader : what turns photos into images; None: as `photos` says
    photos : "fashion" for images as in Fashion-MNIST, "plain" for photos that are only resized, None for whichever the
        model's classes suggest

    Raises ValueError for models of images that no photo can be turned into, and for classes 0 to 9 of 28 x 28 pixels,
    which may be clothes or digits: only the user knows.
    """

    def __init__(self, model, reader=None, photos=None):
        labels = model.classes_.tolist()
        is_numbered = labels == list(range(len(CLASS_NAMES)))
        plain = reader_for(model) if reader is None else None
        if reader is None and photos is None:
            is_small = plain.size == (28, 28) and plain.color == "gray"
            if is_small and is_numbered:
                raise ValueError("its classes are numbers from 0 to 9: say --photos fashion if they are those of "
                                 "Fashion-MNIST, and --photos plain if they are not")
            photos = "fashion" if is_small and set(labels) <= set(CLASS_NAMES) else "plain"
        self.model, self.reader = model, reader or (PhotoToFashion() if photos == "fashion" else plain)
        self.is_fashion = isinstance(self.reader, PhotoToFashion)
        self.names = CLASS_NAMES if is_numbered and self.is_fashion else list(map(str, labels))
        self._one_at_a_time = threading.Lock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            black = self.reader.transform([np.zeros((28, 28), dtype=np.uint8)])
            self._as_rows = not works(model.predict, black)
            model.predict(self._form(black))
            self.shows_evidence = works(grad_cam, model, self._form(black))

    def __call__(self, photo):
        """Probabilities by name, the image and the evidence in it as pictures, and warnings about the photo.

        Of models without probabilities, the name alone. Raises OSError or ValueError if the file is not a photo.
        """
        with self._one_at_a_time, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = self.reader.transform([photo])
            given = self._form(images)
            if hasattr(self.model, "predict_proba"):
                answer = dict(zip(self.names, self.model.predict_proba(given)[0].tolist(), strict=True))
            else:
                answer = self.names[np.searchsorted(self.model.classes_, self.model.predict(given)[0])]
            image = np.broadcast_to(np.atleast_3d(images[0].T).T, (3, *images.shape[-2:])).transpose(1, 2, 0) / 255
            heat = grad_cam(self.model, given)[0] if self.shows_evidence else None
        told = dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning)
        evidence = None if heat is None else as_html(0.5 * image + 0.5 * colormaps["inferno"](heat)[..., :3])
        is_empty = self.is_fashion and not images.any()
        return None if is_empty else answer, as_html(image), evidence, " ".join(told)

    def _form(self, images):
        """Images as the model takes them: with values as in its training, and as rows if it wants rows."""
        low, high = getattr(self.model, "value_range_", None) or (0, 255)
        if high <= 16:                          # from 0 to 1 or to 16, say: of scikit-learn's digits
            images = (low + images / 255 * (high - low)).astype(np.float32)
        return images.reshape(len(images), -1) if self._as_rows else images


def works(function, *arguments):
    try:
        function(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def as_html(image):
    """An image (H, W, 3) from 0 to 1, inside the page: a file of its own would be written while others read it."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(buffer, "PNG")
    return (f'<img alt="{image.shape[0]} x {image.shape[1]} pixels" style="width: 100%; image-rendering: pixelated" '
            f'src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">')


def path_of(sent):
    """Path of the file that was sent, whatever it holds. Raises gradio's error for files that were not sent here."""
    if not sent or not sent.path:
        return None
    path = Path(sent.path).resolve()
    if str(path) not in PICTURES and Path(os.environ["GRADIO_TEMP_DIR"]).resolve() not in path.parents:
        raise gradio.Error("The picture was not sent to this page.")
    return str(path)


def page(look, subtitle, keep):
    """The page, as a gradio app that deletes photos after `keep` seconds."""
    def answer(photo):
        photo = photo["composite"] if isinstance(photo, dict) else photo
        if photo is None:
            return None, None, None, ""
        try:
            if Path(photo).stat().st_size > LARGEST_FILE:
                raise ValueError(f"{photo} is larger than {LARGEST_FILE >> 20} MB.")
            *shown, told = look(photo)
        except (OSError, ValueError, TypeError) as error:
            *shown, told = None, None, None, str(error)
        return *shown, f"<p role='status'>{html.escape(told.replace(str(photo), 'The picture'))}</p>" if told else ""

    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(max(1, keep // 10), keep)) as app:
        after = f"{keep // 60} minutes" if keep >= 120 else f"{keep} seconds"
        gradio.HTML(f"<h1>{TITLE}</h1><p>{html.escape(subtitle)} Photos are deleted after {after}.</p>",
                    padding=False)
        with gradio.Row():
            with gradio.Column():
                with gradio.Tab("Photo"):
                    photo = gradio.Image(sources=["upload", "webcam", "clipboard"], label="Photo", elem_id="photo",
                                         buttons=[])
                    photo.preprocess = path_of          # gradio would open the file, and fail in its own words
                    if look.is_fashion:
                        gradio.set_static_paths(PICTURES)
                        examples = gradio.Dataset(components=["image"], samples=[[path] for path in PICTURES],
                                                  type="index", label="Examples")
                        examples.click(lambda number: PICTURES[number], examples, photo, api_name=False)
                with gradio.Tab("Draw"):
                    drawing = gradio.Sketchpad(type="filepath", label="Drawing", elem_id="drawing", buttons=[],
                                               transforms=(), layers=False,
                                               brush=gradio.Brush(40, colors=SHADES, color_mode="fixed"))
                    button = gradio.Button("What is it?")
                    gradio.HTML("<p>Choose the brush and draw a filled shape.</p>", padding=False)
            with gradio.Column():
                told = gradio.HTML(elem_id="told", padding=False)
                label = gradio.Label(num_top_classes=3, label="Answer", elem_id="answer")
                with gradio.Row():
                    seen = gradio.HTML(label="What it sees", elem_id="seen", show_label=True, container=True)
                    evidence = gradio.HTML(label="Where it looks", elem_id="evidence", show_label=True, container=True,
                                           visible=look.shows_evidence)
        outputs = [label, seen, evidence, told]
        photo.change(answer, photo, outputs, api_name="look")
        button.click(answer, drawing, outputs, api_name="look_at_drawing")
    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="pretrained", metavar="MODEL", help=f"{MODEL_HELP} (default: "
                        "pretrained)")
    parser.add_argument("--photos", choices=["fashion", "plain"], help="how photos become images: by the steps "
                        "that made Fashion-MNIST, or by resizing only (default: as stored in the model, or by its "
                        "classes)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in "
                        "(default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--keep", type=int, default=600, metavar="SECONDS", help="how long photos are kept "
                        "(default: 600)")
    parser.add_argument("--device", default="auto", help="cpu or cuda (default: cuda if there is one)")
    args = parser.parse_args()
    for name, value, largest in [("port", args.port, 65_535), ("keep", args.keep, 10**9)]:
        if value is not None and not 1 <= value <= largest:
            parser.error(f"--{name} must be from 1 to {largest}, got {value}")
    try:
        reader, model = open_model(args.model, args.device)
        photos = args.photos or ("fashion" if args.model in PRETRAINED else None)
        look = Look(model, None if args.photos else reader, photos)
    except (OSError, ValueError, TypeError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: MODEL, {args.model}: {error}\n")
    names = ", ".join(look.names[:20]) + (f" and {len(look.names) - 20} more" if len(look.names) > 20 else "")
    subtitle = GARMENTS if look.is_fashion else f"{args.model} tells {names} apart."
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder          # of all that is sent
        app = page(look, subtitle, args.keep)
        try:
            _, url, _ = app.launch(
                server_name=args.host, server_port=args.port, max_file_size=LARGEST_FILE, share=False, ssr_mode=False,
                theme=gradio.themes.Default(font=FONTS, font_mono=["monospace"]), footer_links=[], run_history=False,
                quiet=True, prevent_thread_lock=True)
        except OSError:
            parser.exit(2, f"{parser.prog}: error: --host {args.host}" + f" --port {args.port}" * bool(args.port) +
                        " must be an address of this machine and a free port, but no page can be served there\n")
        print(f"The page is at {url} (Ctrl-C ends it)", flush=True)
        app.block_thread()


if __name__ == "__main__":
    main()

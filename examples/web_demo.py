"""A page to try a model on: drop a photo, use the camera, or draw, and see what the model makes of it.

    python examples/web_demo.py                                    # the network that comes with the package
    python examples/web_demo.py output/mine/model.safetensors      # one of your own

Shows the three most probable classes, the image that the network gets, and where in it the evidence lies (Grad-CAM).
Needs pip install 'fmnist_sk[web]'. The page is served to this machine only, unless --host says otherwise; photos are
deleted after ten minutes, or --keep, and when the page ends.
"""
import argparse
import os
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
from _models import MODEL_HELP, open_model, pictures_for, rest_of, shape_of
from sklearn.pipeline import Pipeline

from fmnist_sk import CLASS_NAMES, ImageReader, PhotoToFashion, grad_cam

try:
    import gradio
    from matplotlib import colormaps
    from PIL import Image
except ImportError as error:
    raise SystemExit(f"This script needs {error.name}: pip install 'fmnist_sk[web]'") from None

LARGEST_FILE = 20 * 2**20           # bytes
SHOWN_SIDE = 280                    # pixels of the images on the page
TITLE = "What is in this photo?"
GARMENTS = "One garment on a plain background works best. The model knows ten kinds of clothes and nothing else: " \
           "a cat is one of the ten to it."
SHADES = ["#202020", "#707070", "#b0b0b0", "#ffffff"]
PICTURES = [str(Path(__file__).parent / "pictures" / name) for name in ("sneaker.jpg", "dress.png")]
FONTS = ["system-ui", "sans-serif"]                 # none that would have to be fetched from elsewhere


class Look:
    """What a model makes of a photo. For one thread at a time; others wait.

    model : a classifier with predict_proba, or a Pipeline of one that may begin with what reads photos
    photos : how photos become images where the model does not say: "fashion", as those of Fashion-MNIST, or "plain",
        only made to fit; by default "fashion" for gray images of 28 x 28 pixels in Fashion-MNIST's classes

    Raises ValueError for other models, and for those of images that no photo can be made into.
    """

    def __init__(self, model, photos=None):
        if not hasattr(model, "predict_proba"):
            raise ValueError(f"it must give probabilities, which {type(model).__name__} does not")
        labels = model.classes_.tolist()
        is_numbered = labels == list(range(len(CLASS_NAMES)))
        if isinstance(model, Pipeline) and isinstance(model[0], (ImageReader, PhotoToFashion)):
            self.reader, self.model = model[0], rest_of(model)
        else:
            is_fashion = shape_of(model) == (1, 28, 28) and (is_numbered or set(labels) <= set(CLASS_NAMES))
            photos = photos or ("fashion" if is_fashion else "plain")
            self.reader = PhotoToFashion() if photos == "fashion" else ImageReader(**pictures_for(model))
            self.model = model
        self.is_fashion = isinstance(self.reader, PhotoToFashion)
        self.names = CLASS_NAMES if is_numbered and self.is_fashion else list(map(str, labels))
        self._one_at_a_time = threading.Lock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            black = self.reader.transform([np.zeros((28, 28), dtype=np.uint8)])
        self._as_rows = not works(self.model.predict_proba, black)
        self.model.predict_proba(self._form(black))
        self.shows_evidence = works(grad_cam, self.model, black)

    def __call__(self, photo):
        """Probabilities by name, the image and the evidence in it as pictures, and what there is to be said of it.

        Raises OSError or ValueError for what is no photo.
        """
        with self._one_at_a_time, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = self.reader.transform([photo])
            proba = self.model.predict_proba(self._form(images))[0]
            image = np.broadcast_to(np.atleast_3d(images[0].T).T, (3, *images.shape[-2:])).transpose(1, 2, 0) / 255
            evidence = None
            if self.shows_evidence:
                evidence = enlarged(0.5 * image + 0.5 * colormaps["inferno"](grad_cam(self.model, images)[0])[..., :3])
        told = " ".join(str(warning.message) for warning in caught if warning.category is UserWarning)
        return dict(zip(self.names, proba.tolist(), strict=True)), enlarged(image), evidence, told

    def _form(self, images):
        return images.reshape(len(images), -1) if self._as_rows else images


def works(function, *arguments):
    try:
        function(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def enlarged(image):
    """An image (H, W, 3) from 0 to 1 as a picture in which every pixel is a square."""
    times = max(1, SHOWN_SIDE // max(image.shape[:2]))
    return Image.fromarray(np.kron(np.rint(255 * image), np.ones((times, times, 1))).astype(np.uint8))


def path_of(sent):
    """Where the file lies that was sent, whatever it holds."""
    return sent and sent.path


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
            *shown, told = None, None, None, f"**{error}**"
        return *shown, told.replace(str(photo), "The picture")

    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(max(1, keep // 10), keep)) as app:
        gradio.Markdown(f"# {TITLE}\n{subtitle} Photos are deleted after {keep:,} seconds.")
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
            with gradio.Column():
                told = gradio.Markdown(elem_id="told")
                label = gradio.Label(num_top_classes=3, label="Answer", elem_id="answer")
                with gradio.Row():
                    seen, evidence = (
                        gradio.Image(label=title, elem_id=name, format="png", interactive=False, buttons=[],
                                     min_width=140, visible=is_shown)
                        for name, title, is_shown in [("seen", "What it sees", True),
                                                      ("evidence", "Where it looks", look.shows_evidence)])
        outputs = [label, seen, evidence, told]
        photo.change(answer, photo, outputs, api_name="look")
        button.click(answer, drawing, outputs, api_name="look_at_drawing")
    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="pretrained", metavar="MODEL", help=f"{MODEL_HELP} (default: "
                        "pretrained)")
    parser.add_argument("--photos", choices=["fashion", "plain"], help="how photos become images: as those of "
                        "Fashion-MNIST were made, or plainly made to fit (default: as the model says, or by its "
                        "classes)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in (default: "
                        "127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860 on)")
    parser.add_argument("--keep", type=int, default=600, metavar="SECONDS", help="how long photos are kept "
                        "(default: 600)")
    parser.add_argument("--device", default="auto", help="cpu or cuda (default: cuda if there is one)")
    args = parser.parse_args()
    for name, value, largest in [("port", args.port, 65_535), ("keep", args.keep, 10**9)]:
        if value is not None and not 1 <= value <= largest:
            parser.error(f"--{name} must be from 1 to {largest}, got {value}")
    try:
        look = Look(open_model(args.model, args.device), args.photos)
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
        except OSError as error:
            parser.exit(2, f"{parser.prog}: error: {error}\n")
        print(f"The page is at {url} (Ctrl-C ends it)", flush=True)
        app.block_thread()


if __name__ == "__main__":
    main()

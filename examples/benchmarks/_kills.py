"""Faults for reliability.py: processes that are killed, and what they lead to."""
from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np

from fmnist_sk import load
from fmnist_sk._storage.document import read_document

BEGIN = """
    import sys
    from pathlib import Path
    import numpy as np
    from fmnist_sk import *
    folder = Path(sys.argv[1])
    X, y = np.random.default_rng(0).integers(0, 256, (600, 12, 12), dtype=np.uint8), np.arange(600) % 3
    net = ConvNetClassifier(architecture="16C3-MP2-16N", max_epochs=12, random_state=0, checkpoint=folder)
    steps, train_step, on_epoch_begin = 0, ConvNetClassifier.train_step, ConvNetClassifier.on_epoch_begin

    def counted(self, *args, **kwargs):
        global steps
        steps += 1
        return train_step(self, *args, **kwargs)

    def told(self, *args, **kwargs):
        print(steps if self.keep_checkpoint else 0, flush=True)      # steps that are in checkpoints by now
        return on_epoch_begin(self, *args, **kwargs)

    def end(*found):
        print("end", steps, *found, flush=True)

    ConvNetClassifier.train_step, ConvNetClassifier.on_epoch_begin = counted, told
    print("begin", flush=True)
    input()
"""
FIT = """
        net.set_params(validation_fraction=0.2, augment="light", ema=0.9, keep_checkpoint={}).fit(X, y)
        end(net.predict_proba(X).tobytes().hex())
"""
KILLED = {          # each ends with what it found; a second run goes on with what the first has left
    "fit": FIT.format(True), "fit, two in one folder": FIT.format(False),
    "search": """
        from sklearn.model_selection import GridSearchCV
        net.set_params(keep_checkpoint=True, max_epochs=4)
        found = GridSearchCV(net, {"lr": [1e-4, 1e-3, 1e-2]}, cv=2).fit(X, y)
        end(found.cv_results_["mean_test_score"].tobytes().hex(), found.predict_proba(X).tobytes().hex())
    """,
    "save": """
        net.set_params(checkpoint=None, max_epochs=1).fit(X, y)
        for _ in range(20):
            save(net, folder / "model.safetensors")
            assert (load(folder / "model.safetensors").predict_proba(X) == net.predict_proba(X)).all()
        end(net.predict_proba(X).tobytes().hex())
    """,
    "download": """
        import http.server, threading, time
        from fmnist_sk._storage.download import download

        content = np.random.default_rng(0).bytes(10**6)

        class Slow(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for start in range(0, len(content), 10**4):
                    self.wfile.write(content[start:start + 10**4])
                    time.sleep(0.005)

        def verify(path):
            if path.read_bytes() != content:
                raise ValueError("it sent something else")

        server = http.server.HTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download([f"http://127.0.0.1:{server.server_port}/"], folder / "content", verify)
        end((folder / "content").read_bytes() == content, [path.name for path in folder.glob("*.part")])
    """,
}
KILLED["download, two to one cache"] = KILLED["download"]


def left(folder: Path) -> int:
    """Steps in the checkpoints of a folder. Raises an error if what has its final name there cannot be read."""
    for model in folder.glob("model.safetensors"):
        load(model)
    for content in folder.glob("content"):
        if content.read_bytes() != np.random.default_rng(0).bytes(10**6):
            raise ValueError(f"{content} is not what was downloaded.")
    checkpoints = set(folder.glob("*.safetensors")) - {folder / "model.safetensors"}
    return sum(read_document(path)[0]["step"] for path in checkpoints)


def ended(process) -> tuple[int, str] | None:
    """Steps that a process trained, and what it found; None if it was killed before. Waits for its end."""
    process.told = process.communicate()[0].splitlines()
    kind, *found = process.told[-1].split(maxsplit=2) if process.told else [""]
    return (int(found[0]), found[1]) if kind == "end" else None


def kills(args) -> dict:
    """Processes killed at random moments, and what they lead to beside what it would have been."""
    rng, rows = random.Random(args.seed), {}
    for name, code in KILLED.items():
        def start(folder, n=1, code=code):
            """n processes that begin together."""
            processes = [subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(code), folder], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(n)]
            for process in processes:
                process.stdout.readline()
            for process in processes:
                print(file=process.stdin, flush=True)
            return processes

        with tempfile.TemporaryDirectory() as whole:
            (process,), began = start(whole), time.perf_counter()
            expected = ended(process)
            duration = time.perf_counter() - began
        if expected is None:
            raise RuntimeError(f"{name} fails also where nothing kills it.")
        steps, answer = expected
        injected = went_on = lost = 0
        while injected < args.faults:
            with tempfile.TemporaryDirectory() as folder:
                processes = start(folder, 1 + ("two" in name))
                time.sleep(rng.uniform(0, duration))
                processes[0].send_signal(signal.SIGKILL)
                found = [ended(process) for process in processes]
                if found[0] is not None:        # it was at its end
                    continue
                injected += 1
                try:
                    n_left = left(Path(folder))
                    again = ended(*start(folder))
                    went_on += again[0] < steps
                    lost += not (again == (steps - n_left, answer) and n_left >= int((processes[0].told or [0])[-1])
                                 and all(other[1] == answer for other in found[1:]))
                except Exception:
                    lost += 1
        rows[name] = {"injected": injected, "went_on": went_on, "lost": lost}
        if went_on:
            rows[name]["note"] = f"{went_on} resumed from a checkpoint"
        print(f"kills of {name}: {rows[name]}", flush=True)
    return rows

"""Download a file once, whole and verified, however many processes ask for it."""
from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

ATTEMPTS = 3                # rounds over all addresses
TIMEOUT = 20.0              # seconds without a byte after which a connection counts as stalled
DEADLINE = 1800.0           # seconds for a whole file, for servers that send a byte now and then
PAUSE = 1.0                 # seconds before the second round, doubled before each further one
MAX_BYTES = 200_000_000     # no file of ours is larger: a server that never stops sending is cut off


class DownloadError(OSError):
    """No address delivered the file; the message says what each of them did."""


def download(urls: Sequence[str], target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch `target` from the first of `urls` that delivers what `verify` accepts (it raises ValueError otherwise).

    A file is written beside the target and moved into place only when whole and verified. A lock beside the target
    makes parallel processes wait for the first instead of downloading too.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not target.exists():
                for leftover in target.parent.glob(f"{target.name}.*.part"):     # of a process that was killed
                    leftover.unlink(missing_ok=True)
                _fetch_first(urls, target, verify)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{target.parent} cannot be written to: {error}") from error


def _fetch_first(urls, target, verify):
    failures = {}
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        for url in urls:
            handle, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent)
            partial = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    _fetch(url, file)
                verify(partial)
                partial.chmod(0o644)         # mkstemp's 0600 would hide a shared cache from other users
                partial.replace(target)
                return
            except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
                failures[url] = str(getattr(error, "reason", "") or error).replace(name, "what it sent")
            finally:
                with contextlib.suppress(FileNotFoundError):
                    partial.unlink()
    raise DownloadError(f"{ATTEMPTS} attempts failed: "
                        + "; ".join(f"{url}: {reason}" for url, reason in failures.items()))


def _fetch(url: str, file) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "fmnist_sk"})
    end = time.monotonic() + DEADLINE
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        size = int(response.headers.get("Content-Length") or 0)
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1],
                  file=sys.stderr) as bar:
            while chunk := response.read1(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
                if bar.n > MAX_BYTES:
                    raise ValueError(f"it sent more than {MAX_BYTES} bytes")
                if time.monotonic() > end:
                    raise TimeoutError(f"it sent only {bar.n} bytes in {DEADLINE:.0f} s")
            if size and bar.n != size:
                raise ValueError(f"it sent {bar.n} of {size} bytes")

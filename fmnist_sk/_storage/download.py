"""Download a file once, complete and verified, however many processes ask for it."""
from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO

from filelock import FileLock
from tqdm import tqdm

from fmnist_sk._storage.files import leftovers, replacing

ATTEMPTS = 3                # rounds over all addresses
TIMEOUT = 20.0              # seconds without a byte after which a connection counts as stalled
DEADLINE = 1800.0           # seconds for a whole file, in case a server sends only a byte now and then
PAUSE = 1.0                 # seconds before the second round, doubled before each further one
MAX_BYTES = 200_000_000     # of a file: a server that never stops sending is cut off


class DownloadError(OSError):
    """No address delivered the file; the message says what each of them did."""


def download(urls: Sequence[str], target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch `target` from the first of `urls` that delivers what `verify` accepts (it raises ValueError otherwise).

    `verify` gets the path of the downloaded file, which replaces the target only when it is complete and verified. A
    lock beside the target makes parallel processes wait for the first one instead of downloading too. Raises
    DownloadError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not target.exists():
                for leftover in leftovers(target):              # from killed processes
                    leftover.unlink(missing_ok=True)
                _fetch_first(urls, target, verify)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{target.parent} cannot be written to: {error}") from error


def _fetch_first(urls: Sequence[str], target: Path, verify: Callable[[Path], object]) -> None:
    failures: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        for url in urls:
            try:
                _fetch(url, target, verify)
                return
            except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
                failures[url] = str(getattr(error, "reason", "") or error)
    raise DownloadError(f"{ATTEMPTS} attempts failed: "
                        + "; ".join(f"{url}: {reason}" for url, reason in failures.items()))


def _fetch(url: str, target: Path, verify: Callable[[Path], object]) -> None:
    with replacing(target) as file:
        _receive(url, file)
        file.flush()
        try:
            verify(Path(file.name))
        except ValueError as error:
            raise ValueError(str(error).replace(file.name, "what it sent")) from error


def _receive(url: str, file: IO[bytes]) -> None:
    """Download from an address to a file, with a progress bar on a terminal and a line of text elsewhere."""
    request = urllib.request.Request(url, headers={"User-Agent": "fmnist_sk"})
    end = time.monotonic() + DEADLINE
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        n, size = 0, int(response.headers.get("Content-Length") or 0)
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], file=sys.stderr,
                  disable=None) as bar:
            if bar.disable:
                print(f"downloading {url}", file=sys.stderr)
            while chunk := response.read1(1 << 16):
                n += file.write(chunk)
                bar.update(len(chunk))
                if n > MAX_BYTES:
                    raise ValueError(f"it sent more than {MAX_BYTES} bytes")
                if time.monotonic() > end:
                    raise TimeoutError(f"it sent only {n} bytes in {DEADLINE:.0f} s")
            if size and n != size:
                raise ValueError(f"it sent {n} of {size} bytes")

"""Which device a network is on."""
from __future__ import annotations

import torch


def _reason(error: Exception) -> str:
    """What PyTorch says about a device in brackets, but for its list of all kinds of devices that it knows."""
    said = str(error).splitlines()[0]
    return "" if said.startswith("Expected one of") else f" ({said:.200})"


def choose_device(device: str | torch.device | None, X=None) -> torch.device:
    """The device that the parameter `device` stands for.

    None: the device of X unless that is the CPU, else CUDA if available, else the CPU. Raises TypeError or ValueError
    for anything but a device of this machine.
    """
    if device is None:
        found = getattr(X, "device", None)
        if isinstance(found, torch.device) and found.type != "cpu":
            return found
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen).cpu()
    except TypeError as error:
        raise TypeError(f"device must be a string or a torch.device, got device={device!r}.") from error
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError("device must name a device of this machine, such as 'cpu', got "
                         f"device={device!r}{_reason(error)}.") from error
    return chosen

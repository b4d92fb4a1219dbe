"""Which device a network is on."""
from __future__ import annotations

import torch


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
        raise ValueError(f"device must name a device of this machine, such as 'cpu', got device={device!r} "
                         f"({str(error).splitlines()[0]}).") from error
    return chosen

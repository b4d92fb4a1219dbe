"""The random generators of a net, and how they are kept."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from fmnist_sk._network.random import DrawFrom, draws_random_numbers, use_generator
from fmnist_sk._network.rows import MIN_ROWS


class Generators:
    """A net's own random number generators, unaffected by other threads and other nets.

    seed : seed of both generators and of the network's initial weights
    shuffle : the order of the training images, on the CPU
    draw : everything else in training, on the device
    """

    def __init__(self, seed: int, device: torch.device):
        self.seed = seed
        self.shuffle = torch.Generator().manual_seed(seed)
        self.draw = torch.Generator(device).manual_seed(seed)
        self._draws_globally: bool | None = None
        self._unpickled: tuple[str, Tensor] | None = None       # kind of device, and the state of `draw` on it

    def attach(self, module: nn.Module) -> None:
        """Let the dropout of a network draw from these generators."""
        use_generator(module, self.draw)
        self._draws_globally = None

    def draws_globally(self, module: nn.Module, shape: tuple[int, int, int]) -> bool:
        """Whether layers draw from PyTorch's global generator, as nn.Dropout2d does: images (channels, height, width).
        """
        if self._draws_globally is None:
            self._draws_globally = draws_random_numbers(module, torch.zeros(MIN_ROWS, *shape))
        return self._draws_globally

    def around(self, module: nn.Module, shape: tuple[int, int, int]) -> AbstractContextManager:
        """Context in which such layers draw from these generators too."""
        if module.training and self.draws_globally(module, shape):
            return DrawFrom(self.shuffle, self.draw)        # on the CPU, `draw`; else the first, if a layer draws there
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        return {"shuffle": self.shuffle.get_state(), "device": self.draw.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raises ValueError for states that no CPU generator can have."""
        for name, generator in (("shuffle", self.shuffle), ("device", self.draw)):
            if generator.device.type == "cpu":
                _check_state(state[name])
        self.shuffle.set_state(state["shuffle"])
        self.draw.set_state(state["device"])

    def on(self, device: torch.device) -> Generators:
        """The same on another device; on another kind of device, `draw` restarts from the seed."""
        moved = Generators(self.seed, device)
        moved.shuffle.set_state(self.shuffle.get_state())
        kind, drawn = self._unpickled or (self.draw.device.type, self.draw.get_state())
        if device.type == kind:
            moved.draw.set_state(drawn)
        return moved

    # Bytes, because a tensor in a pickled state makes joblib.hash differ from call to call.

    def __getstate__(self) -> dict:
        states = {name: state.numpy().tobytes() for name, state in self.state_dict().items()}
        return {"seed": self.seed, "device": self.draw.device.type, **{f"{name}_state": value
                                                                       for name, value in states.items()}}

    def __setstate__(self, state: dict) -> None:
        """Both on the CPU, until `on` says where the net is."""
        Generators.__init__(self, state["seed"], torch.device("cpu"))
        self.shuffle.set_state(_tensor(state["shuffle_state"]))
        self._unpickled = state["device"], _tensor(state["device_state"])


def _check_state(state: Tensor) -> None:
    """Raise ValueError if drawing would read beyond the 624 words of a Mersenne Twister, which PyTorch permits."""
    data = state.numpy().tobytes()
    left, place = int.from_bytes(data[8:12], "little"), int.from_bytes(data[16:24], "little")
    if (left, place) != (1, 0) and not (1 <= left <= 624 and left + place == 625):
        raise ValueError("its random generator has an impossible state")


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)

"""The Inception v3 network (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567) and its ImageNet checkpoint.

Names and shapes of the parameters are those of torchvision's ``inception_v3``, so that its checkpoints load.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._storage.download import DownloadError, download
from fmnist_sk._storage.files import read_tensors

# The blocks in order, up to the last feature map; then "pool" averages it.
BLOCKS = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2",
          "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a",
          "Mixed_7b", "Mixed_7c", "avgpool")
SMALLEST, LARGEST = 75, 512         # pixels a side: fewer leave no last feature map; ImageNet's networks use 299
IMAGENET = "inception_v3_google-0cc3c7bd.pth"      # PyTorch puts the first digits of the SHA-256 in the name
ADDRESS = "https://download.pytorch.org/models/" + IMAGENET


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int = 1,
                 padding: int | tuple[int, int] = 0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches of convolutions side by side, and a pooling beside them.

    branches : name -> ((channels, kernel), ...), one convolution after the other. A last kernel "fork" stands for a
        1 x 3 and a 3 x 1 convolution side by side.
    pooled : channels of the 1 x 1 convolution after a 3 x 3 average pooling. None: the block halves height and width;
        the last convolution of each branch has stride 2, and the pooling is a max pooling without convolution.
    """

    def __init__(self, in_channels: int, branches: dict[str, tuple], pooled: int | None = None):
        super().__init__()
        self.halves = pooled is None
        self.branches: list[list[tuple[str, ...]]] = []         # names of the convolutions that stand side by side
        self.out_channels = in_channels if pooled is None else pooled
        for branch, steps in branches.items():
            channels, self.branches = in_channels, [*self.branches, []]
            for i, (width, kernel) in enumerate(steps, 1):
                name = f"{branch}_{i}" if len(steps) > 1 else branch
                forks = kernel == "fork"
                reduces = self.halves and i == len(steps)
                made = {name + "a": (1, 3), name + "b": (3, 1)} if forks else {name: kernel}
                for each, size in made.items():
                    padding = tuple(side // 2 for side in size) if isinstance(size, tuple) else size // 2
                    self.add_module(each, ConvNorm(channels, width, size, 2 if reduces else 1,
                                                   0 if reduces else padding))
                self.branches[-1].append(tuple(made))
                channels = 2 * width if forks else width
            self.out_channels += channels
        if pooled is not None:
            self.branch_pool = ConvNorm(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:                    # (n, in_channels, height, width)
        outputs = []
        for steps in self.branches:
            y = x
            for names in steps:
                side_by_side = [getattr(self, name)(y) for name in names]
                y = torch.cat(side_by_side, 1) if len(names) > 1 else side_by_side[0]
            outputs.append(y)
        outputs.append(F.max_pool2d(x, 3, 2) if self.halves else self.branch_pool(F.avg_pool2d(x, 3, 1, padding=1)))
        return torch.cat(outputs, 1)


class InceptionV3(nn.Module):
    """Inception v3 without its heads: `blocks` for images (n, 3, H, W) of at least 75 x 75 pixels, scaled to [-1, 1].

    The last block gives (n, channels, 1, 1). `width` multiplies all channels.
    """

    channels: int

    def __init__(self, width: float = 1.0):
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, round(channels * width))

        def mixed(name: str, pooled: int | None = None, **branches: tuple) -> None:
            scaled_branches = {key: tuple((scaled(channels), kernel) for channels, kernel in steps)
                               for key, steps in branches.items()}
            block = Mixed(self.channels, scaled_branches, None if pooled is None else scaled(pooled))
            self.add_module(name, block)
            self.channels = block.out_channels

        def convolution(name: str, channels: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
            self.add_module(name, ConvNorm(self.channels, scaled(channels), kernel, stride, padding))
            self.channels = scaled(channels)

        self.channels = 3
        convolution("Conv2d_1a_3x3", 32, 3, stride=2)
        convolution("Conv2d_2a_3x3", 32, 3)
        convolution("Conv2d_2b_3x3", 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        convolution("Conv2d_3b_1x1", 80, 1)
        convolution("Conv2d_4a_3x3", 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            mixed(name, pooled, branch1x1=((64, 1),), branch5x5=((48, 1), (64, 5)),
                  branch3x3dbl=((64, 1), (96, 3), (96, 3)))
        mixed("Mixed_6a", branch3x3=((384, 3),), branch3x3dbl=((64, 1), (96, 3), (96, 3)))
        for name, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            mixed(name, 192, branch1x1=((192, 1),), branch7x7=((c, 1), (c, (1, 7)), (192, (7, 1))),
                  branch7x7dbl=((c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))))
        mixed("Mixed_7a", branch3x3=((192, 1), (320, 3)),
              branch7x7x3=((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)))
        for name in ("Mixed_7b", "Mixed_7c"):
            mixed(name, 192, branch1x1=((320, 1),), branch3x3=((384, 1), (384, "fork")),
                  branch3x3dbl=((448, 1), (384, 3), (384, "fork")))
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def blocks(self, start: int = 0, stop: int = len(BLOCKS)) -> list[nn.Module]:
        """The modules of ``BLOCKS[start:stop]``."""
        return [getattr(self, name) for name in BLOCKS[start:stop]]


def load_checkpoint(network: InceptionV3, path: Path) -> None:
    """Load a state dict with torchvision's names into `network`; heads that only the file has are ignored.

    Only tensors are read, no code is run. Raises ValueError for any other file.
    """
    try:
        state = read_tensors(path)
    except OSError:
        raise
    except Exception as error:      # unpickling a file that PyTorch did not write can raise anything
        raise ValueError(f"weights must name a PyTorch checkpoint, but {path} cannot be read as one: "
                         f"{str(error).partition(chr(10))[0]}") from error
    if not isinstance(state, dict):
        raise ValueError(f"weights must name a state dict, but {path} holds a {type(state).__name__}.")
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    for name, value in wanted.items():
        found = state.get(name)
        if not isinstance(found, Tensor) or found.layout != torch.strided or not found.is_floating_point():
            raise ValueError(f"weights must hold floating-point tensors of torchvision's names: {name} is "
                             f"{'missing' if found is None else 'something else'} in {path}.")
        if found.shape != value.shape:
            raise ValueError(f"weights must fit the network: {name} has shape {tuple(value.shape)} with this width, "
                             f"in {path} it is {tuple(found.shape)}.")
        if found.is_meta or not found.isfinite().all() or (name.endswith("running_var") and (found < 0).any()):
            raise ValueError(f"weights must be finite numbers, and variances >= 0: {name} in {path} is not.")
    network.load_state_dict({name: state[name] for name in wanted}, strict=False)


def imagenet_checkpoint() -> Path:
    """The official ImageNet weights, downloaded once to torch.hub's folder (which torchvision shares) and verified.

    Raises FileNotFoundError, which says where to put the file, if it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET
    if path.is_dir():
        raise FileNotFoundError(f"weights='imagenet' needs the file {path}, but that is a folder: remove it.")
    try:
        download([ADDRESS], path, _verify)
    except DownloadError as error:
        raise FileNotFoundError(
            f"weights='imagenet' needs the file {IMAGENET}, which is not in {path.parent} and was not downloaded "
            f"({error}). Remedies: put it there, from {ADDRESS} (104 MB); name another file with "
            "weights='path/to/checkpoint.pth'; or train from scratch with weights=None.") from error
    try:
        _verify(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it to have it downloaded again.") from error
    return path


def _verify(path: Path) -> None:
    """Raise ValueError unless the file's SHA-256 begins with the digits in its published name."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    expected = IMAGENET.removesuffix(".pth").rsplit("-", 1)[1]
    if not digest.startswith(expected):
        raise ValueError(f"{path} is not the published {IMAGENET}: its SHA-256 begins with {digest[:len(expected)]}")

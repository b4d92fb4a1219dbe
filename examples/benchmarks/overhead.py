"""What the package costs: one epoch of the same network here, in hand-written loops and in plain skorch.

    python examples/benchmarks/overhead.py

The same data, network, optimizer, batch size, precision and memory layout on every side but the last, which is skorch
as it comes. All sides run in one process, in turn, in a new order every round. Writes results/overhead.json.
"""
import argparse
import time

import _measure
import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fmnist_sk import ImageClassifier, load_fashion_mnist
from fmnist_sk._steps import has_fast_bf16

LR, WEIGHT_DECAY, BATCH_SIZE = 1e-3, 0.01, 128
MEAN, STD = 72.94, 90.02


class Scale(nn.Module):
    """The standardisation of Fashion-MNIST's pixels, as a layer on every side."""

    def forward(self, x):
        return (x - MEAN) / STD


def cnn():
    """Two rounds of two convolutions: 0.9 M parameters."""
    return nn.Sequential(
        Scale(), nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 256), nn.ReLU(), nn.Linear(256, 10))


def tiny():
    """One hidden layer of 32 units: what is left is mostly overhead."""
    return nn.Sequential(Scale(), nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


NETWORKS = {"cnn": cnn, "tiny": tiny}


def prepared(make, device):
    return make().to(device, memory_format=torch.channels_last)


def optimizer_of(model):
    """The same on every side but the last: fused kernel, weight decay on weights but not on biases."""
    weights, biases = ([p for p in model.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False))
    return torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=LR,
                             weight_decay=WEIGHT_DECAY, fused=True)


def synchronized(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def autocast(device, dtype):
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def train_on(batches, model, optimizer, device, dtype):
    """One epoch as anybody would write it, with the average loss and accuracy that a user wants to see."""
    start = synchronized(device)
    model.train()
    loss_sum, hits = torch.zeros((), device=device), torch.zeros((), device=device)
    n = 0
    for x, y in batches():
        optimizer.zero_grad()
        with autocast(device, dtype):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(y)
        hits += (logits.detach().argmax(1) == y).sum()
        n += len(y)
    torch.stack([loss_sum, hits]).div(n).tolist()
    return synchronized(device) - start


def hand_written(make, X, y, device, dtype):
    """Tensors on the device, batches cut by index."""
    model = prepared(make, device)
    optimizer = optimizer_of(model)

    def batches():
        for index in torch.randperm(len(X), device=device).split(BATCH_SIZE):
            yield X[index].float().contiguous(memory_format=torch.channels_last), y[index]

    return lambda: train_on(batches, model, optimizer, device, dtype)


def data_loader(make, X, y, device, dtype):
    """The loop of the tutorials: a DataLoader that collects single images."""
    model = prepared(make, device)
    optimizer = optimizer_of(model)
    loader = DataLoader(TensorDataset(X.float().cpu(), y.cpu()), BATCH_SIZE, shuffle=True)

    def batches():
        for x, y in loader:
            yield x.to(device).contiguous(memory_format=torch.channels_last), y.to(device)

    return lambda: train_on(batches, model, optimizer, device, dtype)


def last_epoch(net, X, y):
    """Seconds of one further epoch, as the net's own timer says; the call's checks of X and y do not count."""
    net.partial_fit(X, y)
    return net.history[-1, "dur"]


def this_package(make, X, y, device, dtype):
    classifier = ImageClassifier(module=make, standardize=False, lr=LR, weight_decay=WEIGHT_DECAY,
                                 batch_size=BATCH_SIZE, device=device, random_state=0,
                                 precision="fp32" if dtype == torch.float32 else "bf16")
    return lambda: last_epoch(classifier, X, y)


def skorch_net(make, X, y, device, net_class, **settings):
    net = net_class(make, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=LR,
                    optimizer__weight_decay=WEIGHT_DECAY, batch_size=BATCH_SIZE, max_epochs=1, train_split=None,
                    iterator_train__shuffle=True, device=device, verbose=0, **settings)
    X, y = X.float().cpu().numpy(), y.cpu().numpy()
    return lambda: last_epoch(net, X, y)


def skorch_same(make, X, y, device, dtype):
    """skorch with this package's precision and memory layout, which it has no switch for."""
    class Net(NeuralNetClassifier):
        def infer(self, x, **fit_params):
            with autocast(device, dtype):
                return super().infer(x.to(device).contiguous(memory_format=torch.channels_last), **fit_params).float()

        def initialize_optimizer(self):
            self.optimizer_ = optimizer_of(self.module_)
            return self

    return skorch_net(lambda: prepared(make, device), X, y, device, Net)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="timed rounds (default: 11)")
    parser.add_argument("--images", type=int, default=6_400, help="training images in an epoch (default: 6400)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="which (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", default="overhead", help="name of the result file (default: overhead)")
    args = parser.parse_args()

    device = torch.device(args.device)
    dtype = torch.bfloat16 if has_fast_bf16(device) else torch.float32
    images, labels = load_fashion_mnist(return_X_y=True)
    X = torch.from_numpy(images[:args.images].reshape(-1, 1, 28, 28)).to(device)
    y = torch.from_numpy(labels[:args.images].astype(np.int64)).to(device)
    results = {"images": args.images, "batch_size": BATCH_SIZE, "device": str(device), "precision": str(dtype),
               "rounds": args.rounds, "networks": {}}
    for name in args.networks:
        make = NETWORKS[name]
        print(f"{name} on {device}, {dtype}", flush=True)
        sides = {
            "fmnist_sk": this_package(make, X, y, device, dtype),
            "hand-written loop": hand_written(make, X, y, device, dtype),
            "DataLoader loop": data_loader(make, X, y, device, dtype),
            "skorch, same precision and layout": skorch_same(make, X, y, device, dtype),
            "skorch out of the box": skorch_net(make, X, y, device, NeuralNetClassifier),
        }
        times = _measure.alternate(sides, args.rounds)
        ours = times["fmnist_sk"]
        results["networks"][name] = {
            "parameters": sum(p.numel() for p in make().parameters()),
            "seconds": times,
            "fmnist_sk / other": {other: _measure.ratio(ours, seconds) for other, seconds in times.items()},
            "other / fmnist_sk": {other: _measure.ratio(seconds, ours) for other, seconds in times.items()},
        }
        for other, value in results["networks"][name]["other / fmnist_sk"].items():
            print(f"  {other:36s} takes {value['median']:6.3f} times as long [{value['low']:.3f}, {value['high']:.3f}]")
        print(f"wrote {_measure.write(args.name, results)}")


if __name__ == "__main__":
    main()

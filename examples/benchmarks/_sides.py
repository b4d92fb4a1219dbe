"""The same network trained in seven ways, which peers.py compares.

Each way is a function of a Task. It returns train(n_epochs), which trains on and returns the seconds of the last epoch,
and predict(images), which returns class codes.
"""
from __future__ import annotations

import numpy as np
import torch
from _frameworks import keras_model, lightning_trainer
from _task import BATCH_SIZE, LR, NETWORKS, WEIGHT_DECAY, autocast, channels_last, optimizer_of, synchronized
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn import functional as F

from fmnist_sk import ImageClassifier


def loop(task, batches):
    """Training as most people would write it, with the mean loss and accuracy that a user wants to see."""
    module, device = task.module(), task.device
    optimizer = optimizer_of(module)

    def epoch():
        start = synchronized(device)
        module.train()
        loss_sum, hits = torch.zeros((), device=device), torch.zeros((), device=device)
        for x, y in batches():
            x, y = channels_last(x.to(device)), y.to(device)
            optimizer.zero_grad()
            with autocast(device):
                logits = module(x)
            loss = F.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(y)
            hits += (logits.detach().argmax(1) == y).sum()
        torch.stack([loss_sum, hits]).div(len(task.y)).tolist()
        return synchronized(device) - start

    def predict(X):
        module.eval()
        with torch.inference_mode(), autocast(device):
            parts = torch.from_numpy(X)[:, None].to(device).split(BATCH_SIZE)
            return torch.cat([module(channels_last(part)).argmax(1) for part in parts]).cpu().numpy()

    return lambda n_epochs: [epoch() for _ in range(n_epochs)][-1], predict


def hand_written(task):
    """Bytes on the device, batches cut by index."""
    X, y = torch.from_numpy(task.X)[:, None].to(task.device), torch.from_numpy(task.y).to(task.device)
    return loop(task, lambda: ((X[index], y[index])
                               for index in torch.randperm(len(X), device=task.device).split(BATCH_SIZE)))


def data_loader(task):
    """The loop of the tutorials."""
    loader = task.batches(task.X, task.y)
    return loop(task, lambda: loader)


def this_package(task):
    classifier = ImageClassifier(module=NETWORKS[task.network], standardize=False, lr=LR, weight_decay=WEIGHT_DECAY,
                                 batch_size=BATCH_SIZE, device=task.device, random_state=task.seed)
    return trained_on(classifier, task.X, task.y), classifier.predict


def trained_on(classifier, X, y):
    """train(n_epochs) of a classifier of this package."""
    def train(n_epochs):
        classifier.set_params(max_epochs=n_epochs, warm_start=True).fit(X, y)
        return classifier.history_[-1, "dur"]

    return train


def skorch_net(task, net_class=NeuralNetClassifier):
    """skorch out of the box."""
    make = task.module if net_class is not NeuralNetClassifier else NETWORKS[task.network]
    net = net_class(make, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=LR,
                    optimizer__weight_decay=WEIGHT_DECAY, batch_size=BATCH_SIZE, train_split=None,
                    iterator_train__shuffle=True, device=task.device, verbose=0)
    X = task.X[:, None].astype(np.float32)

    def train(n_epochs):
        net.set_params(max_epochs=n_epochs).partial_fit(X, task.y)
        return net.history[-1, "dur"]

    return train, lambda X: net.predict(X[:, None].astype(np.float32))


def skorch_same(task):
    """skorch with this package's precision and memory layout, which it has no switch for."""
    class Net(NeuralNetClassifier):
        def infer(self, x, **fit_params):
            with autocast(task.device):
                return super().infer(channels_last(x.to(task.device)), **fit_params).float()

        def initialize_optimizer(self):
            self.optimizer_ = optimizer_of(self.module_)
            return self

    return skorch_net(task, Net)


WAYS = {"fmnist_sk": this_package, "hand-written loop": hand_written, "DataLoader loop": data_loader,
        "skorch, same precision and layout": skorch_same, "skorch out of the box": skorch_net,
        "Lightning": lightning_trainer, "Keras": keras_model}


def start(name, task):
    """train and predict of one of WAYS."""
    torch.manual_seed(task.seed)
    return WAYS[name](task)

"""PyTorch Lightning and Keras as sides of peers.py, see _sides.py. They are imported when they are used."""
from __future__ import annotations

import logging
import os
import warnings

import numpy as np
import torch
from _task import (
    BATCH_SIZE,
    LR,
    MEAN,
    STD,
    WEIGHT_DECAY,
    channels_last,
    optimizer_of,
    precision,
    synchronized,
)
from torch.nn import functional as F

os.environ["KERAS_BACKEND"] = "torch"           # read when Keras is imported


def lightning_trainer(task):
    """PyTorch Lightning, mixed precision, without what it writes: logs, checkpoints, progress."""
    import lightning
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")           # advice about workers of the DataLoader

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = task.module()

        def training_step(self, batch, index):
            x, y = batch
            logits = self.network(channels_last(x))
            loss = F.cross_entropy(logits.float(), y)
            hits = (logits.argmax(1) == y).float().mean()
            self.log_dict({"loss": loss, "accuracy": hits}, on_step=False, on_epoch=True, batch_size=len(y))
            return loss

        def predict_step(self, batch, index):
            return self.network(channels_last(batch[0])).argmax(1)

        def configure_optimizers(self):
            return optimizer_of(self.network)

    class Clock(lightning.Callback):
        def on_train_epoch_start(self, *_):
            self.start = synchronized(task.device)

        def on_train_epoch_end(self, *_):
            self.seconds = synchronized(task.device) - self.start

    module, clock, loader = Module(), Clock(), task.batches(task.X, task.y)
    trainer = lightning.Trainer(
        accelerator="gpu" if task.device.type == "cuda" else "cpu", devices=1, max_epochs=0, callbacks=[clock],
        precision="bf16-mixed" if precision(task.device) == torch.bfloat16 else "32-true", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)

    def train(n_epochs):
        trainer.fit_loop.max_epochs += n_epochs
        trainer.fit(module, loader)
        return clock.seconds

    return train, lambda X: torch.cat(trainer.predict(module, task.batches(X))).cpu().numpy()


def keras_network(network):
    """The same layers in Keras: channels last, its own initial weights."""
    import keras
    from keras import layers

    def convolution(width):         # PyTorch's momentum 0.1 is Keras's 0.9
        return (layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
                layers.ReLU())

    hidden = {"cnn": lambda: (*convolution(32), *convolution(32), layers.MaxPooling2D(), *convolution(64),
                              *convolution(64), layers.MaxPooling2D(), layers.Flatten(),
                              layers.Dense(256, activation="relu")),
              "tiny": lambda: (layers.Flatten(), layers.Dense(32, activation="relu"))}[network]()
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(1 / STD, -MEAN / STD), *hidden,
                             layers.Dense(10, dtype="float32")])


def keras_model(task):
    """Keras on PyTorch, mixed precision."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, *_):
            self.start = synchronized(task.device)

        def on_epoch_end(self, *_):
            self.seconds = synchronized(task.device) - self.start

    keras.utils.set_random_seed(task.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if precision(task.device) == torch.bfloat16 else "float32")
    clock, X = Clock(), task.X[..., None].astype(np.float32)
    with keras.device(task.device.type):
        model = keras_network(task.network)
        optimizer = keras.optimizers.AdamW(LR, weight_decay=WEIGHT_DECAY, epsilon=1e-8)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

    def train(n_epochs):
        with keras.device(task.device.type):
            model.fit(X, task.y, BATCH_SIZE, n_epochs, verbose=0, callbacks=[clock])
        return clock.seconds

    def predict(X):
        with keras.device(task.device.type):
            return model.predict(X[..., None].astype(np.float32), BATCH_SIZE, verbose=0).argmax(1)

    return train, predict

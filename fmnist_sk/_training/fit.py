"""One fit of a net, from its first epoch to its last."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.optimizer import set_option
from fmnist_sk._storage.fit_file import FitFile
from fmnist_sk._training.averages import BestEpoch
from fmnist_sk._training.net import Net, Teacher
from fmnist_sk._training.phase import Phase, StopTraining, TrainingBatches
from fmnist_sk._training.schedule import Schedule
from fmnist_sk._training.steps import StepRunner
from fmnist_sk.augmentation import AugmentedCopies, as_transformers


class Fit:
    """Everything that lives as long as a fit, and its progress.

    net : what is trained, through its hooks
    images : to train on, and to hold some out of, on the net's device
    epochs : number to train for: the first of the `planned` ones that schedule and weight averages cover
    schedule : schedule of the learning rate
    steps : what takes a step with a batch
    generators : sources of random numbers
    pixel_range : range of the training images' pixels
    file : where checkpoints are written, with what an earlier process left there; None for no checkpoints
    teacher : learns the training images and gives the targets (n, n_classes) of a batch; None for its labels
    task : scikit-learn's callback context of the fit and the user's X and y, or None
    """

    def __init__(self, net: Net, images: LabelledImages, *, epochs: int, planned: int, schedule: Schedule,
                 steps: StepRunner, generators: Generators, pixel_range: PixelRange, file: FitFile | None = None,
                 teacher: Teacher | None = None, task: tuple[Any, Any, Any] | None = None):
        self.net, self.images, self.epochs, self.planned = net, images, epochs, planned
        self.schedule, self.steps, self.generators = schedule, steps, generators
        self.pixel_range, self.file, self.teacher, self.task = pixel_range, file, teacher, task
        self.best: BestEpoch | None = None
        self.phase: Phase | None = None
        self.originals = images         # those to train on, without stored copies
        self.stops = False              # a callback asked to stop, but its epoch has to be ended first

    def run(self) -> None:
        """Train the net alone."""
        with closing(self.passes()) as passes:
            for batches in passes:
                with self.may_stop():
                    self.net.run_single_epoch(batches, training=True, prefix="train", step_fn=self.steps.step)

    def passes(self) -> Generator[TrainingBatches, None, None]:
        """For each epoch, the batches to train on; everything else happens when the next ones are requested."""
        try:
            for phase in self._phases():
                with phase:
                    for batches in phase.epochs():
                        yield batches
                        if self.stops:
                            raise StopTraining
        except StopTraining:
            pass

    @contextmanager
    def may_stop(self) -> Iterator[None]:
        """Context in which a callback may end the fit, but not the rest of the epoch."""
        try:
            yield
        except StopTraining:
            self.stops = True

    def _phases(self) -> Iterator[Phase]:
        train, valid = self.net.get_split_datasets(self.images)
        self.originals = train
        train = self._with_copies(train)
        self.best = None if valid is None else BestEpoch(self.net)
        saved, left = None if self.file is None else self.file.content, self.epochs
        for index, plan in enumerate(self.net._plan_phases(self.planned, len(self.net.history))):
            if saved is None or index >= saved["phase"]:
                if self.file is not None:
                    self.file.content = None
                self.phase = Phase(self, index, plan, train, valid, min(plan.n_epochs, left), saved)
                saved = None
                yield self.phase
            left -= plan.n_epochs
            if left <= 0:
                break
        if saved is not None:
            raise ValueError(f"checkpoint: {self.source} is of a fit with more phases; delete it to start over.")

    def set_option(self, name: str, value: float) -> None:
        """Let the schedule begin with another learning rate ("lr") or weight decay, which a callback has set."""
        if self.phase is not None:
            set_option(self.phase.schedule.before, name, value, self.net.decay_biases)

    def _with_copies(self, train: LabelledImages) -> LabelledImages:
        """The training images, with the copies that AugmentedCopies in `augment` store."""
        for step in as_transformers(self.net.augment, self.net.classes_):
            if isinstance(step, AugmentedCopies):
                train = step.enlarge(train, self.net.classes_, self.generators.draw, self.pixel_range)
        return train

    @property
    def source(self):
        """The file from which the fit resumes."""
        return None if self.file is None else self.file.source

    def begin_epoch(self, train: LabelledImages, valid: LabelledImages | None) -> None:
        """Let the teacher learn, if it has not; notify callbacks of scikit-learn and of skorch."""
        if self.teacher is not None:
            repeats = self.net.random_state is not None or self.net.checkpoint is not None
            self.teacher.learn(self.originals, self.generators.seed if repeats else None)
        if self.task is not None:
            self._epoch = self.task[0].subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self.net)
        self.net.notify("on_epoch_begin", dataset_train=train, dataset_valid=valid)

    def end_epoch(self, averaged: Callable[[], AbstractContextManager]) -> None:
        """Notify scikit-learn's callbacks, which predict in the context `averaged`; one may ask to stop the fit."""
        if self.task is not None:
            _, X, y = self.task
            with averaged():
                if self._epoch.call_on_fit_task_end(estimator=self.net, X=X, y=y, reconstruction_attributes=dict):
                    raise StopTraining

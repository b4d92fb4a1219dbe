"""Training: what happens between the first and the last epoch of a fit.

Who owns what:

===============  ====================  ==============================================  ============================
who              where                 owns                                            knows nothing of
===============  ====================  ==============================================  ============================
Fit              fit.py                one fit: its images, phases, best epoch, file   how a step is computed
Phase            phase.py              a part of a fit with a schedule of its own:     other phases
                                       epochs, averages, early stopping, checkpoints
Pass             passes.py             the losses and hits of one pass over batches    schedules, epochs
StepRunner       steps.py              a batch: loss, gradients, SAM, clipping, the    epochs
                                       triplet term, CUDA graphs, the optimizer
Watch            watch.py              whether other programs keep steps waiting       what a step computes
Group            group.py              the gradients of several fits at once           phases, epochs
ScheduleRun      schedule.py           a schedule applied to an optimizer              networks
WeightAverage,   averages.py           which weights an epoch is judged by, and a fit  batches
BestEpoch                              ends with
Net              net.py                what all of these ask of the net they train
===============  ====================  ==============================================  ============================

`Fit.run` is the whole algorithm: for each epoch a pass over the training images, and in between what `Phase` says.
A net's hooks (`train_step`, `get_loss`, ...) are called where the net's class has its own; see `hooks.py`.
"""

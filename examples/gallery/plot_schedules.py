"""
Schedules of the learning rate
==============================

``ScheduleDisplay`` draws a schedule without training anything.
"""
import matplotlib.pyplot as plt

from fmnist_sk import ConvNetClassifier, Cosine, Exponential, MultiStep, OneCycle, ScheduleDisplay

schedules = {"one_cycle": OneCycle(), "cosine": Cosine(warmup=0.1), "multi_step": MultiStep((0.5, 0.75)),
             "exponential": Exponential(0.7)}
figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
for ax, (name, schedule) in zip(axes.flat, schedules.items(), strict=True):
    ScheduleDisplay.from_estimator(ConvNetClassifier(schedule=schedule, max_epochs=10), n_samples=1000, ax=ax)
    ax.set_title(name)
plt.show()

"""Draws some simulated bodies, and some that five launches do not tell apart: `python docs/pictures/bodies.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datamodules.tasks.bodies import BouncingBody, Pendulum
from datamodules.tasks.bodies.simulated import SimulatedBody

NUM_LAUNCHES = 160
NUM_ALIKE = 16


def draw_tasks(axis: Axes, tasks: SimulatedBody, rng: np.random.Generator) -> None:
    """Four tasks, without noise."""
    speeds = np.linspace(*tasks.speeds, NUM_LAUNCHES)
    axis.plot(speeds, tasks.simulate(tasks.bodies(4, rng), np.tile(speeds, (4, 1))).T, linewidth=1)
    axis.set_title(f"{type(tasks).__name__}: four tasks")


def draw_alike(axis: Axes, tasks: SimulatedBody, rng: np.random.Generator, support: list[float], query: float) -> None:
    """Of 400 bodies, 16 that answer the support alike and part at the query."""
    bodies = tasks.bodies(400, rng)
    answers = tasks.simulate(bodies, np.tile([*support, query], (400, 1)))
    distance = ((answers[:, None, :-1] - answers[None, :, :-1]) ** 2).sum(axis=-1)
    alike = np.argsort(distance, axis=1)[:, :NUM_ALIKE]
    above = (answers[alike, -1] > answers[alike, -1].mean(axis=1, keepdims=True)).sum(axis=1)
    parted = np.abs(above - NUM_ALIKE / 2) <= 2
    spread = answers[alike, -1].std(axis=1) / (1 + distance[np.arange(400), alike[:, -1]])
    body = int(np.argmax(np.where(parted, spread, 0.0)))
    chosen = alike[body]
    speeds = np.linspace(*tasks.speeds, NUM_LAUNCHES)
    curves = tasks.simulate({k: v[chosen] for k, v in bodies.items()}, np.tile(speeds, (NUM_ALIKE, 1)))
    axis.plot(speeds, curves.T, linewidth=0.7, color="tab:gray", alpha=0.7)
    axis.plot(support, answers[body, :-1], "o", color="black", markersize=5)
    axis.axvline(query, color="tab:red", linewidth=1, linestyle=":")
    axis.plot(np.full(NUM_ALIKE, query), answers[chosen, -1], "o", color="tab:red", markersize=4)
    axis.set_title(f"{NUM_ALIKE} bodies that answer five launches alike")


def draw_bodies(path: Path) -> None:
    """A row for each family."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2)
    rows = (
        (Pendulum(), [4.5, 6.0, 8.5, 9.5, 10.5], 7.2, "kick (rad/s)", "angle 2.5 s later (rad)"),
        (BouncingBody(), [0.8, 1.6, 2.2, 2.6, 3.9], 3.2, "speed of the throw (m/s)", "distance 1.6 s later (m)"),
    )
    for (left, right), (tasks, support, query, x_label, y_label) in zip(axes, rows, strict=True):
        rng = np.random.default_rng(3)
        draw_tasks(left, tasks, rng)
        draw_alike(right, tasks, rng, support, query)
        left.set_ylabel(y_label)
        left.set_xlabel(x_label)
        right.set_xlabel(x_label)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    draw_bodies(Path(__file__).with_suffix(".png"))

"""Draws some random tasks of each generative family: `python docs/pictures/task_families.py`."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure

from datamodules.tasks import (
    FixedNoise,
    LatentFunction,
    MixedNoise,
    PacohCauchy,
    PacohSinusoid,
    RandomScaleProcess,
    Sinusoid,
    Steps,
    Tangent,
    TaskFamily,
    transforms,
)
from datamodules.tasks.generators import task_generator

COLUMNS = 5
FAMILIES: dict[str, TaskFamily] = {
    "Sinusoid": Sinusoid(),
    "Sinusoid, test x in [-5, 10]": Sinusoid(test_x_range=(-5, 10)),
    "Sinusoid, frequency up to 10": Sinusoid(frequency=(0.5, 10)),
    "Sinusoid, noise 0.1 |x + phi|": Sinusoid(frequency=(1, 1), phase=(0, 3.14), noise=MixedNoise()),
    "Sinusoid, noise 0.1": Sinusoid(frequency=(1, 1), phase=(0, 3.14), noise=FixedNoise()),
    "Tangent": Tangent(),
    "Steps": Steps(),
    "PacohSinusoid": PacohSinusoid(),
    "PacohCauchy with one input": PacohCauchy(1),
    "RandomScaleProcess": RandomScaleProcess(),
    "identity: z": LatentFunction(transforms.Identity()),
    "floor: 5 floor(z)": LatentFunction(),
    "noisy floor: 10 floor(z) + N(0, 1)": LatentFunction(transforms.Floor(10.0), noise_sd=1.0),
    "sign(z)": LatentFunction(transforms.Sign()),
    "absolute: |z|": LatentFunction(transforms.Absolute()),
    "square: z^2": LatentFunction(transforms.Square()),
    "sine: sin(z)": LatentFunction(transforms.Sine()),
    "atan(1/z)": LatentFunction(transforms.ArctangentInverse()),
    "sin(1/z)": LatentFunction(transforms.SineInverse()),
    "cosecant: 1 / sin(z), clipped at 100": LatentFunction(transforms.Cosecant()),
}


def draw_families(path: Path) -> None:
    """One panel for each family: a line is a task, the dots are five support points of it."""
    rows = -(-len(FAMILIES) // COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).flat
    for (title, family), axis in zip(FAMILIES.items(), axes, strict=True):
        has_levels = family.name in ("steps", "sign")  # many such tasks in one panel hide each other
        points = family.curves(2 if has_levels else 4, 5, 600, task_generator(3, "pictures"))
        assert points is not None
        for number, (x, y) in enumerate(zip(points.x[..., 0], points.y[..., 0], strict=True)):
            poles = y[5:].diff().abs() > 0.4 * (points.y.max() - points.y.min()) * (2.5 if has_levels else 1)
            line = torch.where(torch.cat([poles, torch.zeros(1, dtype=torch.bool)]), torch.nan, y[5:])
            axis.plot(x[5:], line, color=f"C{number}", linewidth=0.8)
            axis.plot(x[:5], y[:5], ".", color=f"C{number}", markersize=5)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw_families(Path(__file__).with_suffix(".png"))

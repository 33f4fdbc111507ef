"""Tasks from a pool that MuJoCo simulates once.

Letters: B tasks, M points of a task, T tasks of a split, P simulated points of a task.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Generator

from datamodules.tasks.base import Points, SplitName, TaskSource
from datamodules.tasks.draws import check_at_least, check_positive
from datamodules.tasks.row_draws import draw_rows, draw_tasks, order_queries
from datamodules.text.atomic import write_bytes

from .restitution import CONTACT_RATE

if TYPE_CHECKING:
    import mujoco

CHUNK = 50
"""Tasks that are simulated together: MuJoCo keeps every step of them in memory."""

NUM_CURVES = 12
CURVE_POINTS = 240
"""Bodies for pictures, and launches of each."""


class SimulatedBody(TaskSource):
    """One body, one launch speed, one coordinate some time later. A task is a body with hidden properties of its own.

    Subclasses say which bodies there are and how they are simulated; here they become a pool of tasks, made once and
    kept in the data folder. Tasks of the splits are different bodies.

    Args:
        num_train_tasks: Bodies for training.
        num_val_tasks: Bodies for validation.
        num_test_tasks: Bodies for the test.
        num_points: P, launches of each body, spread evenly at random over `speeds`.
        noise: Standard deviation of the measured coordinate, in its own unit, not 0; drawn anew with every draw.
        seed: Decides the bodies and their launches.
        num_threads: Threads that simulate; the pool does not depend on it.

    Attributes:
        hidden: Names of the properties that nobody sees, lowest and highest value of each; all values are as likely.
        speeds: Lowest and highest launch speed, the one input.
        duration_s: Time from the launch to the measurement.
        timestep_s: Step of the simulation.

    Raises:
        ValueError: A number is out of range.
    """

    hidden: dict[str, tuple[float, float]]
    speeds: tuple[float, float]
    duration_s: float
    timestep_s: float = 0.002

    def __init__(
        self,
        *,
        num_train_tasks: int = 2000,
        num_val_tasks: int = 500,
        num_test_tasks: int = 2000,
        num_points: int = 16,
        noise: float = 0.05,
        seed: int = 17,
        num_threads: int = 2,
    ) -> None:
        sizes = {"num_train_tasks": num_train_tasks, "num_val_tasks": num_val_tasks, "num_test_tasks": num_test_tasks}
        check_at_least(1, **sizes, num_points=num_points, num_threads=num_threads)
        check_positive(noise=noise)  # without it, bodies at rest would have a density without bound
        self.sizes: dict[str, int] = dict(zip(get_args(SplitName), sizes.values(), strict=True))
        self.num_points = num_points
        self.noise = noise
        self.seed = seed
        self.num_threads = num_threads

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what decides the tasks, the version of MuJoCo included."""
        return hashlib.sha256(f"{self._fingerprint()} {self.noise}".encode()).hexdigest()

    def num_tasks(self, split: SplitName) -> int:
        return self.sizes[split]

    @property
    def num_train_points(self) -> int:
        return self.sizes["train"] * self.num_points

    @abstractmethod
    def model_xml(self) -> str:
        """The model that all tasks share, in MuJoCo's XML."""

    @abstractmethod
    def set_body(self, model: mujoco.MjModel, body: Mapping[str, float]) -> None:
        """Writes the hidden properties of one body into a copy of the shared model."""

    @abstractmethod
    def launch(self, model: mujoco.MjModel, data: mujoco.MjData, body: Mapping[str, float], speed: float) -> None:
        """Sets positions and velocities at the start."""

    @abstractmethod
    def coordinate(self, data: np.ndarray) -> np.ndarray:
        """The target from the positions `qpos` [..., nq] at the end."""

    def prepare(self, folder: Path) -> None:
        """Simulates the pool if it is not there: about a minute on two cores at the default sizes."""
        path = self._path(folder)
        if path.exists():
            return
        pool: dict[str, np.ndarray] = {}
        sizes = {**self.sizes, "curves": NUM_CURVES}
        for number, (split, num_tasks) in enumerate(sizes.items()):
            generator = np.random.default_rng([self.seed, number])
            bodies = self.bodies(num_tasks, generator)
            num_points = CURVE_POINTS if split == "curves" else self.num_points
            places = (np.arange(num_points) + generator.random((num_tasks, num_points))) / num_points
            x = self.speeds[0] + (self.speeds[1] - self.speeds[0]) * places
            pool |= {f"{split}_x": x, f"{split}_y": self.simulate(bodies, x, title=f"{self.name}: {split}")}
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: values.astype(np.float32) for name, values in pool.items()}
        np.savez(buffer, **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())

    def open(self, folder: Path) -> None:
        """Reads the pool.

        Raises:
            ValueError: It was not prepared.
        """
        path = self._path(folder)
        if not path.exists():
            raise ValueError(f"{path}: the simulated tasks are not there: run `galley prepare` with the same settings")
        with np.load(path, allow_pickle=False) as pool:
            arrays = {name: torch.from_numpy(pool[name])[..., None] for name in pool.files}
        self._pool = {name: (arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in [*self.sizes, "curves"]}

    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        """Bodies of the split, each as often as any other, and random launches of each without replacement."""
        return self._draw(split, num_tasks, num_points, generator)

    def curves(self, num_tasks: int, num_support: int, num_queries: int, generator: Generator) -> Points:
        """Bodies of no split, launched at so many speeds that a curve can be drawn."""
        return order_queries(self._draw("curves", num_tasks, num_support + num_queries, generator), num_support)

    def bodies(self, num_tasks: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Hidden properties of some bodies: names and arrays float64[T]."""
        return {name: generator.uniform(low, high, num_tasks) for name, (low, high) in self.hidden.items()}

    def simulate(
        self, bodies: Mapping[str, np.ndarray], x: np.ndarray, *, timestep_s: float | None = None, title: str = ""
    ) -> np.ndarray:
        """The coordinate after `duration_s`, without noise.

        Args:
            bodies: Hidden properties, float64[T] each.
            x: Launch speeds, float64[T, P].
            timestep_s: Another step than the usual one, to see what it changes.
            title: What a progress bar says; none without it.

        Returns:
            float64[T, P].
        """
        import mujoco
        from rich.progress import track

        model = mujoco.MjModel.from_xml_string(self.model_xml())
        model.opt.timestep = timestep_s or self.timestep_s
        data = [mujoco.MjData(model) for _ in range(self.num_threads)]
        chunks = range(0, len(x), CHUNK)
        shown = track(chunks, description=title, disable=not title, transient=True)
        return np.concatenate([self._simulate_chunk(model, data, bodies, x, first) for first in shown])

    def _draw(self, pool: str, num_tasks: int, num_points: int, generator: Generator) -> Points:
        x_TP, y_TP = self._pool[pool]
        tasks = draw_tasks(len(x_TP), num_tasks, generator)
        points_BM, mask_BM = draw_rows(np.full(num_tasks, x_TP.shape[1]), num_points, generator)
        rows, mask = (torch.from_numpy(tasks)[:, None], torch.from_numpy(points_BM)), torch.from_numpy(mask_BM)
        y = y_TP[rows] + self.noise * torch.randn(num_tasks, num_points, 1, generator=generator)
        filler = ~mask[..., None]
        return Points(x_TP[rows].masked_fill(filler, 0.0), y.masked_fill(filler, 0.0), mask)

    def _simulate_chunk(
        self, model: mujoco.MjModel, data: list[Any], bodies: Mapping[str, np.ndarray], x: np.ndarray, first: int
    ) -> np.ndarray:
        import mujoco
        from mujoco import rollout

        models, starts = [], []
        for task in range(first, min(first + CHUNK, len(x))):
            body = {name: float(values[task]) for name, values in bodies.items()}
            own = copy.copy(model)
            self.set_body(own, body)
            mujoco.mj_setConst(own, data[0])
            for speed in x[task]:
                mujoco.mj_resetData(own, data[0])
                self.launch(own, data[0], body, float(speed))
                start = np.empty(mujoco.mj_stateSize(own, mujoco.mjtState.mjSTATE_FULLPHYSICS))
                mujoco.mj_getState(own, data[0], start, mujoco.mjtState.mjSTATE_FULLPHYSICS)
                models.append(own)
                starts.append(start)
        num_steps = round(self.duration_s / model.opt.timestep)
        states, _ = rollout.rollout(models, data, np.stack(starts), nstep=num_steps)
        end = self.coordinate(states[:, -1, 1 : 1 + model.nq])  # a state is time, qpos, qvel
        return end.reshape(-1, x.shape[1])

    def _path(self, folder: Path) -> Path:
        return folder / "bodies" / f"{self.name}-{self._fingerprint()}.npz"

    def _fingerprint(self) -> str:
        """What the pool depends on."""
        import mujoco

        settings = {
            "mujoco": mujoco.__version__,
            "model": self.model_xml(),
            "bodies": [self.hidden, CONTACT_RATE, self.seed],
            "launches": [self.speeds, self.num_points, self.duration_s, self.timestep_s],
            "sizes": [self.sizes, NUM_CURVES, CURVE_POINTS],
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]

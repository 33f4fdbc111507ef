"""Simulated bodies: contacts give back what they should, the same pool for everyone, and two-peaked answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from datamodules.tasks.bodies import BouncingBody, Pendulum
from datamodules.tasks.bodies.restitution import LOWEST, contact_solref
from datamodules.tasks.bodies.simulated import SimulatedBody

SMALL: dict[str, Any] = {"num_train_tasks": 5, "num_val_tasks": 3, "num_test_tasks": 4, "num_points": 6}
FAMILIES: tuple[type[SimulatedBody], ...] = (Pendulum, BouncingBody)


@pytest.fixture(autouse=True)
def few_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.tasks.bodies.simulated.NUM_CURVES", 2)
    monkeypatch.setattr("datamodules.tasks.bodies.simulated.CURVE_POINTS", 20)


def opened(family: type[SimulatedBody], folder: Path, **options: Any) -> SimulatedBody:
    tasks = family(**(SMALL | options))
    tasks.prepare(folder)
    tasks.open(folder)
    return tasks


def speed_after_impact(restitution: float, *, mass: float, timestep_s: float) -> float:
    """Throws a ball straight down at 5 m/s: the largest speed upwards, as a share of the largest downwards."""
    model = mujoco.MjModel.from_xml_string(BouncingBody().model_xml())
    middle = {name: (low + high) / 2 for name, (low, high) in BouncingBody.hidden.items()}
    BouncingBody().set_body(model, middle | {"restitution": restitution, "mass": mass, "friction": 0.0})
    model.dof_damping[:] = 0.0
    model.opt.timestep = timestep_s
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)
    data.qvel[1] = -5.0
    speeds = []
    for _ in range(round(0.4 / timestep_s)):
        mujoco.mj_step(model, data)
        speeds.append(data.qvel[1])
    return max(speeds) / -min(speeds)


@pytest.mark.parametrize("restitution", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_a_bounce_gives_back_the_restitution(restitution: float) -> None:
    """The closed form in the limit of small steps, and nearly so at the step that is used."""
    for mass in (0.5, 3.0):
        assert speed_after_impact(restitution, mass=mass, timestep_s=1e-4) == pytest.approx(restitution, abs=0.001)
    usual = speed_after_impact(restitution, mass=1.0, timestep_s=BouncingBody.timestep_s)
    assert usual == pytest.approx(restitution, abs=0.01)


def test_restitution_has_bounds() -> None:
    stiffness, damping = contact_solref(1.0, rate=10.0)
    assert (stiffness, damping) == (-100.0, pytest.approx(0.0, abs=1e-9))
    for wrong in (LOWEST, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"must be above 0\.1353 and at most 1"):
            contact_solref(wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_the_time_step_changes_little(family: type[SimulatedBody]) -> None:
    """But near a jump, where a body passes or falls back."""
    tasks = family()
    bodies = tasks.bodies(12, np.random.default_rng(0))
    x = np.tile(np.linspace(*tasks.speeds, 8), (12, 1))
    change = np.abs(tasks.simulate(bodies, x) - tasks.simulate(bodies, x, timestep_s=tasks.timestep_s / 2))
    assert np.median(change) < 0.1 * tasks.noise
    assert np.quantile(change, 0.8) < tasks.noise


def test_a_pendulum_without_friction_keeps_its_energy() -> None:
    """A kick too weak for the top and for the peg: after the time of the measurement, cos(angle) follows from speed."""
    model = mujoco.MjModel.from_xml_string(Pendulum().model_xml())
    model.dof_damping[:] = 0.0
    model.opt.timestep = Pendulum.timestep_s
    model.body("peg").pos[2] = 5.0  # out of the way
    data = mujoco.MjData(model)
    data.qvel[0] = 4.0
    inertia = 1.0 + 0.4 * 0.15**2  # kg m^2: the bob is a ball of 1 kg, 1 m away
    for _ in range(1000):
        mujoco.mj_step(model, data)
        energy = 0.5 * inertia * data.qvel[0] ** 2 + 9.81 * (1 - np.cos(data.qpos[0]))
        assert energy == pytest.approx(0.5 * inertia * 16.0, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_pools_do_not_depend_on_threads_and_are_made_once(family: type[SimulatedBody], tmp_path: Path) -> None:
    one = opened(family, tmp_path / "one", num_threads=1)
    two = opened(family, tmp_path / "two", num_threads=2)
    (first,), (second,) = ((tmp_path / name / "bodies").iterdir() for name in ("one", "two"))
    assert first.name == second.name
    with np.load(first) as a, np.load(second) as b:
        assert all(np.array_equal(a[name], b[name]) for name in a.files)
        assert a["train_x"].shape == (5, 6)
        assert a["train_x"].min() > family.speeds[0]
        assert a["train_x"].max() < family.speeds[1]
        assert not np.isin(a["train_y"], a["test_y"]).any()
    assert one.digest == two.digest != family(**SMALL, seed=1).digest
    made = first.stat().st_mtime_ns
    one.prepare(tmp_path / "one")
    assert first.stat().st_mtime_ns == made


def test_draws_are_points_of_the_pool_with_noise(tmp_path: Path) -> None:
    tasks = opened(Pendulum, tmp_path, noise=1e-4)
    assert tasks.num_train_points == 5 * 6
    with np.load(next((tmp_path / "bodies").iterdir())) as pool:
        x, y = pool["val_x"], pool["val_y"]
    points = tasks.draw(6, 8, torch.Generator().manual_seed(0), split="val")
    assert points.mask.sum(dim=1).tolist() == [6] * 6  # all there are
    for task in range(6):
        drawn = points.x[task, :6, 0].numpy()
        body = int(np.argmin(np.abs(x[:, :, None] - drawn).min(axis=1).max(axis=1)))
        place = np.abs(x[body][:, None] - drawn).argmin(axis=0)
        assert sorted(place) == list(range(6))
        gap = points.y[task, :6, 0].numpy() - y[body][place]
        assert 0 < np.abs(gap).max() < 6e-4
    again = tasks.draw(6, 8, torch.Generator().manual_seed(0), split="val")
    assert torch.equal(points.y, again.y)


def test_curves_run_along_the_speeds(tmp_path: Path) -> None:
    curves = opened(BouncingBody, tmp_path).curves(2, 3, 15, torch.Generator().manual_seed(0))
    assert (curves.x[:, 3:, 0].diff(dim=1) > 0).all()
    assert curves.x[:, 3:].max() - curves.x[:, 3:].min() > 2.5


def two_clusters(values: np.ndarray, *, fewest: int) -> float:
    """Share of the variance between the two best clusters, 0.64 for a Gaussian and 0.75 for a uniform (Otsu, 1979)."""
    values = np.sort(values)
    within = [
        values[:cut].var() * cut + values[cut:].var() * (len(values) - cut)
        for cut in range(fewest, len(values) - fewest + 1)
    ]
    return 1 - min(within) / (values.var() * len(values))


@pytest.mark.parametrize(
    ("family", "support", "query"),
    [(Pendulum, [4.5, 6.0, 8.5, 9.5, 10.5], 7.2), (BouncingBody, [0.8, 1.6, 2.2, 2.6, 3.9], 3.2)],
)
def test_five_points_leave_two_peaks(family: type[SimulatedBody], support: list[float], query: float) -> None:
    """Bodies that answer five launches alike, as far as the noise tells, part into two groups at the sixth."""
    tasks, rng = family(), np.random.default_rng(0)
    bodies = tasks.bodies(240, rng)
    y = tasks.simulate(bodies, np.tile([*support, query], (240, 1)))
    distance = ((y[:, None, :5] - y[None, :, :5]) ** 2).sum(axis=-1)
    alike = np.argsort(distance, axis=1)[:, :16]
    answers = y[alike, 5] + tasks.noise * rng.standard_normal(alike.shape)
    one_peak = rng.standard_normal(alike.shape)
    assert np.mean([two_clusters(row, fewest=4) > 0.9 for row in answers]) > 0.2
    assert np.mean([two_clusters(row, fewest=4) > 0.9 for row in one_peak]) < 0.02


def test_bad_settings_and_a_missing_pool(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_points=0 must be at least 1"):
        Pendulum(num_points=0)
    with pytest.raises(ValueError, match=r"noise=0\.0 must be positive"):
        Pendulum(noise=0.0)
    with pytest.raises(ValueError, match="run `galley prepare`"):
        Pendulum(**SMALL).open(tmp_path)

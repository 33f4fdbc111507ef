"""Every learner keeps the contract of its slot: whatever `modules.meta` exports is tested here, with its defaults."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from modules import meta
from modules.contracts import FewShotLearner, FewShotTasks, Predictive

LEARNERS = [
    name
    for name in sorted(meta.__all__)
    if isinstance(getattr(meta, name), type) and issubclass(getattr(meta, name), FewShotLearner)
]
B, N, Q = 3, 5, 4


def make_tasks(*, x: int = 1, y: int = 1, n: int = N, dtype: torch.dtype = torch.float64) -> FewShotTasks:
    """Three tasks with 5, 3 and 1 support points and 4, 4 and 2 queries."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(B, n + Q, x, generator=generator, dtype=dtype)
    targets = torch.randn(B, n + Q, y, generator=generator, dtype=dtype)
    support_mask = torch.arange(n) < torch.tensor([[5], [3], [1]])
    query_mask = torch.arange(Q) < torch.tensor([[4], [4], [2]])
    num_points = int(support_mask.sum() + query_mask.sum())
    parts = points[:, :n], targets[:, :n], support_mask, points[:, n:], targets[:, n:], query_mask
    return FewShotTasks(*parts, num_points)


def make(name: str, dtype: torch.dtype = torch.float64, **options: int) -> FewShotLearner:
    torch.manual_seed(0)
    return getattr(meta, name)(**options).to(dtype)


def predict(learner: FewShotLearner, tasks: FewShotTasks) -> Predictive:
    with torch.no_grad():
        return learner.predict(
            tasks.support_x,
            tasks.support_y,
            tasks.support_mask,
            tasks.query_x,
            num_samples=500,
            generator=torch.Generator().manual_seed(1),
        )


def loss(learner: FewShotLearner, tasks: FewShotTasks) -> Tensor:
    return learner.loss(tasks, torch.Generator().manual_seed(2))


def densities(learner: FewShotLearner, tasks: FewShotTasks) -> Tensor:
    return predict(learner, tasks).log_prob(tasks.query_y).value


def is_sampled(learner: FewShotLearner, tasks: FewShotTasks) -> bool:
    """Whether predictions are Monte-Carlo estimates, so that tasks in another order meet other random numbers."""
    return bool(predict(learner, tasks).log_prob(tasks.query_y).error.max() > 0)


def test_there_are_learners() -> None:
    assert len(LEARNERS) >= 8


@pytest.mark.parametrize("name", LEARNERS)
def test_the_loss_reaches_every_parameter(name: str) -> None:
    learner = make(name)
    value = loss(learner, make_tasks())
    assert value.shape == ()
    assert torch.isfinite(value)
    value.backward()
    untouched = [key for key, p in learner.named_parameters() if p.requires_grad and p.grad is None]
    assert untouched == []
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", LEARNERS)
def test_fillers_change_nothing(name: str) -> None:
    learner, tasks = make(name), make_tasks()
    changed = replace(
        tasks,
        support_x=torch.where(tasks.support_mask[..., None], tasks.support_x, 7.0),
        support_y=torch.where(tasks.support_mask[..., None], tasks.support_y, -9.0),
        query_x=torch.where(tasks.query_mask[..., None], tasks.query_x, 3.0),
        query_y=torch.where(tasks.query_mask[..., None], tasks.query_y, 11.0),
    )
    results = []
    for batch in (tasks, changed):
        value = loss(learner, batch)
        results.append([value.detach(), *torch.autograd.grad(value, list(learner.parameters()))])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    ours = (densities(learner, tasks) * tasks.query_mask)[:, :2]
    theirs = (densities(learner, changed) * tasks.query_mask)[:, :2]
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", LEARNERS)
def test_order_of_queries_is_kept_and_order_of_support_does_not_matter(name: str) -> None:
    learner, tasks = make(name), make_tasks()
    if is_sampled(learner, tasks):
        pytest.skip("held with common random numbers in the tests of that learner")
    order = torch.tensor([2, 0, 1, 4, 3])
    shuffled = replace(
        tasks,
        support_x=tasks.support_x[:, order],
        support_y=tasks.support_y[:, order],
        support_mask=tasks.support_mask[:, order],
    )
    torch.testing.assert_close(densities(learner, shuffled), densities(learner, tasks), rtol=1e-8, atol=1e-8)
    backwards = replace(tasks, query_x=tasks.query_x.flip(1), query_y=tasks.query_y.flip(1))
    torch.testing.assert_close(densities(learner, backwards).flip(1), densities(learner, tasks), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_batch_is_a_loop_over_its_tasks_without_filler(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """Densities far out in a tail keep a digit less than the 1e-6 of what they are made of."""
    learner, tasks = make(name, dtype), make_tasks(dtype=dtype)
    if is_sampled(learner, tasks):
        pytest.skip("held with common random numbers in the tests of that learner")
    alone = []
    for b in range(B):
        n = int(tasks.support_mask[b].sum())
        support = (value[b : b + 1, :n] for value in (tasks.support_x, tasks.support_y, tasks.support_mask))
        query = (value[b : b + 1] for value in (tasks.query_x, tasks.query_y, tasks.query_mask))
        alone.append(densities(learner, FewShotTasks(*support, *query, num_points=0)))
    torch.testing.assert_close(torch.cat(alone), densities(learner, tasks), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", LEARNERS)
def test_everything_is_made_on_the_device_of_the_tasks(name: str) -> None:
    """On a device that has shapes and no numbers, but refuses tensors of another."""
    learner, tasks = make(name).to("meta"), make_tasks().to("meta")
    learner.loss(tasks).backward()
    predictive = learner.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x, num_samples=5)
    y = tasks.query_y
    answers = [predictive.mean, predictive.cdf(y), *(predictive.sample(5, joint=joint) for joint in (False, True))]
    answers += [*predictive.log_prob(y), *predictive.log_mass(y, y), *predictive.joint_log_prob(y, tasks.query_mask)]
    assert all(answer.device.type == "meta" for answer in answers)


@pytest.mark.parametrize("name", LEARNERS)
def test_predictive_is_a_distribution_with_and_without_support(name: str) -> None:
    learner, tasks = make(name), make_tasks()
    for n in (N, 0):
        few = replace(
            tasks,
            support_x=tasks.support_x[:, :n],
            support_y=tasks.support_y[:, :n],
            support_mask=tasks.support_mask[:, :n],
        )
        predictive = predict(learner, few)
        low, high = predictive.quantile(torch.tensor([1e-6, 1 - 1e-6], dtype=torch.float64))
        steps = torch.linspace(0, 1, 4001, dtype=torch.float64)
        grid = low + (high - low) * steps[:, None, None, None]
        density = torch.stack([predictive.log_prob(y).value.exp() for y in grid])
        area = torch.trapezoid(density, grid[..., 0], dim=0)
        torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=2e-3)
        middle = predictive.quantile(torch.tensor([0.3], dtype=torch.float64))[0]
        torch.testing.assert_close(predictive.cdf(middle), torch.full_like(middle, 0.3), rtol=0, atol=1e-3)
        mass = predictive.log_mass(low, middle).value.exp()
        torch.testing.assert_close(mass, torch.full_like(mass, 0.3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("joint", [False, True])
def test_draws_follow_the_cdf(name: str, joint: bool) -> None:
    learner, tasks = make(name), make_tasks()
    predictive = predict(learner, tasks)
    with torch.no_grad():
        draws = predictive.sample(500, joint=joint, generator=torch.Generator().manual_seed(3))
    assert draws.shape == (500, B, Q, 1)
    places = torch.stack([predictive.cdf(y) for y in draws])
    # Draws of a sampled predictive's joint are others than those of its marginals: two samples are compared.
    limit = 0.09 if not (joint and is_sampled(learner, tasks)) else 0.13
    assert max(kstest(places[:, b, q, 0], "uniform").statistic for b in range(B) for q in range(Q)) < limit


@pytest.mark.parametrize("name", LEARNERS)
def test_wider_inputs_and_targets(name: str) -> None:
    learner, tasks = make(name, input_dim=3, output_dim=2), make_tasks(x=3, y=2)
    assert torch.isfinite(loss(learner, tasks))
    predictive = predict(learner, tasks)
    assert predictive.mean.shape == (B, Q, 2)
    assert torch.isfinite(predictive.log_prob(tasks.query_y).value).all()
    assert predictive.joint_log_prob(tasks.query_y, tasks.query_mask).value.shape == (B,)


@pytest.mark.parametrize("name", LEARNERS)
def test_hard_inputs_in_float32(name: str) -> None:
    """Equal points with equal and with different targets, an outlier, twenty points in one place."""
    learner = make(name, torch.float32)
    x = torch.zeros(B, 24, 1)
    x[1] = torch.randn(24, 1, generator=torch.Generator().manual_seed(0)) * 1e-3
    y = torch.randn(B, 24, 1, generator=torch.Generator().manual_seed(1))
    y[2] = 0.3
    y[1, 0] = 30.0
    keep = torch.ones(B, 24, dtype=torch.bool)
    tasks = FewShotTasks(x[:, :20], y[:, :20], keep[:, :20], x[:, 20:], y[:, 20:], keep[:, 20:], 72)
    value = loss(learner, tasks)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)
    assert torch.isfinite(densities(learner, tasks)).all()


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("width", ["input_dim", "output_dim"])
def test_a_width_below_one_is_refused(name: str, width: str) -> None:
    with pytest.raises(ValueError, match=rf"{width}=0 must be at least 1"):
        make(name, **{width: 0})

"""What VMGP predicts, its random numbers in hand: against dense Gaussians, and the symmetries it must have.

Letters: S samples, B tasks, N support points, Q query points, J latents, K = Q J in one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dense_vmgp import KINDS, covariance, dense, model, normal, random_tasks, two_step
from torch import Generator, Tensor

from modules.contracts import FewShotTasks
from modules.meta import Vmgp
from modules.meta.latent_posterior import LabelledPoints, LatentSampler

Noise = Callable[[tuple[int, ...], Tensor, Generator | None], Tensor]
OBJECTIVES = ["elbo", "iwae", "query"]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Noise], None]:
    """Puts other numbers in the place of the standard normal ones."""

    def replace_normal(noise: Noise) -> None:
        for module in ("latent_prior", "posterior_free", "posterior_sites"):
            monkeypatch.setattr(f"modules.meta.{module}.normal", noise)

    return replace_normal


def shared(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    """The same numbers for every task."""
    return torch.randn(shape[0], 1, *shape[2:], generator=generator, dtype=torch.float64).to(like).expand(shape)


def silent(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    return like.new_zeros(shape)


class Impulses:
    """Zeros, but for one number 1 in each sample after the first: such draws tell mean and covariance exactly."""

    def __init__(self) -> None:
        self.used = 1

    def __call__(self, shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
        noise_SBK = like.new_zeros(shape).flatten(2)
        places = torch.arange(noise_SBK.shape[2])
        noise_SBK[self.used + places, :, places] = 1.0
        self.used += len(places)
        return noise_SBK.reshape(shape)


def support_of(tasks: FewShotTasks) -> LabelledPoints:
    return LabelledPoints(tasks.support_x, tasks.support_y, tasks.support_mask)


@pytest.fixture
def moments(
    use: Callable[[Noise], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Vmgp, FewShotTasks, bool], tuple[Tensor, Tensor]]:
    """Mean [B, K] and covariance [B, K, K] of the latents at the queries, without jitter."""
    monkeypatch.setattr("modules.meta.gaussian_process.JITTER", 0.0)

    def measure(learner: Vmgp, tasks: FewShotTasks, joint: bool) -> tuple[Tensor, Tensor]:
        use(Impulses())
        draw: LatentSampler = learner.posterior.at_queries(learner.prior, support_of(tasks), tasks.query_x, joint=joint)
        draws_SBK = draw(150, None).detach().flatten(2)
        away_SBK = draws_SBK - draws_SBK[0]
        return draws_SBK[0], torch.einsum("sbk,sbl->bkl", away_SBK, away_SBK)

    return measure


Moments = Callable[[Vmgp, FewShotTasks, bool], tuple[Tensor, Tensor]]


def wide_tasks(num_support: int) -> FewShotTasks:
    return random_tasks(4, num_support=num_support, input_dim=2, output_dim=2, ragged=True)


@pytest.mark.parametrize("num_support", [0, 5])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_latents_at_queries_follow_from_those_at_the_support(
    moments: Moments, posterior: str, kind: str, joint: bool, num_support: int
) -> None:
    learner, tasks = model(posterior, kind), wide_tasks(num_support)
    mean_BK, covariance_BKK = moments(learner, tasks, joint)
    for task in range(4):
        x = torch.cat([tasks.support_x[task, tasks.support_mask[task]], tasks.query_x[task]])
        both = normal(learner.prior.mean(x), covariance(learner.prior.kernel(x, x), learner.prior.latents))
        places = torch.arange(3 * len(x)).split([3 * (len(x) - 3), 9])
        if len(places[0]):
            both = two_step(dense(learner, support_of(tasks), task)[0], both, *places)
        torch.testing.assert_close(mean_BK[task], both.mean.detach(), rtol=1e-9, atol=1e-9)
        counted = torch.ones(9, 9) if joint else torch.kron(torch.eye(3), torch.ones(3, 3))  # each query by itself
        expected = both.covariance_matrix.detach() * counted
        torch.testing.assert_close(covariance_BKK[task] * counted, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_order_of_the_support_means_nothing(moments: Moments, posterior: str, kind: str, joint: bool) -> None:
    learner, tasks = model(posterior, kind), wide_tasks(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = replace(
        tasks,
        support_x=tasks.support_x[:, order],
        support_y=tasks.support_y[:, order],
        support_mask=tasks.support_mask[:, order],
    )
    both = moments(learner, tasks, joint), moments(learner, shuffled, joint)
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_order_of_points_does_not_change_the_loss(
    use: Callable[[Noise], None], posterior: str, kind: str, objective: str
) -> None:
    use(silent)
    learner, tasks = model(posterior, kind, objective=objective), wide_tasks(3)
    turned = replace(tasks, **{name: value.flip(1) for name, value in vars(tasks).items() if name != "num_points"})
    torch.testing.assert_close(learner.loss(turned), learner.loss(tasks), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_a_query_is_told_the_same_in_any_order_and_beside_far_and_equal_ones(
    moments: Moments, posterior: str, kind: str, joint: bool
) -> None:
    learner, tasks = model(posterior, kind), wide_tasks(4)
    mean_BK, covariance_BKK = moments(learner, tasks, joint)
    more_x = torch.cat([tasks.query_x, tasks.query_x[:, :1], tasks.query_x[:, :1] + 100.0], dim=1)
    order = torch.tensor([4, 2, 0, 3, 1])  # the old queries end up at places 2, 4 and 1
    more_mean, more_covariance = moments(learner, replace(tasks, query_x=more_x[:, order]), joint)
    kept = torch.cat([3 * place + torch.arange(3) for place in (2, 4, 1)])
    torch.testing.assert_close(more_mean[:, kept], mean_BK, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(more_covariance[:, kept][:, :, kept], covariance_BKK, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_a_batch_is_a_loop_over_its_tasks(
    use: Callable[[Noise], None], posterior: str, kind: str, objective: str, dtype: torch.dtype, tolerance: float
) -> None:
    use(shared)
    learner = model(posterior, kind, objective=objective).to(dtype)
    tasks = random_tasks(4, input_dim=2, output_dim=2, dtype=dtype)
    means, losses = [], []
    for task in range(4):
        parts = {name: value[task : task + 1] for name, value in vars(tasks).items() if name != "num_points"}
        alone = replace(tasks, **parts)
        means.append(predicted(learner, alone))
        losses.append(learner.loss(alone, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(torch.cat(means, dim=1), predicted(learner, tasks), rtol=tolerance, atol=tolerance)
    together = learner.loss(tasks, torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.stack(losses).mean(), together, rtol=tolerance, atol=tolerance)


def predicted(learner: Vmgp, tasks: FewShotTasks) -> Tensor:
    """Decoded draws [S, B, Q, Y]."""
    generator = torch.Generator().manual_seed(3)
    return learner.predict(*support_of(tasks), tasks.query_x, num_samples=20, generator=generator).means_SBQY


@pytest.mark.parametrize("at_once", [1, 7, 13])  # less than a task, two tasks of four, a sample
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_what_is_decoded_at_once_only_bounds_memory(
    use: Callable[[Noise], None], monkeypatch: pytest.MonkeyPatch, posterior: str, kind: str, at_once: int
) -> None:
    learner, tasks = model(posterior, kind), wide_tasks(4)
    monkeypatch.setattr("modules.meta.vmgp.DECODED_AT_ONCE", at_once)
    sampled = predicted(learner, tasks)
    assert len(sampled.flatten().unique()) == sampled.numel()  # no draw twice, nothing left empty
    use(silent)
    parts = predicted(learner, tasks)
    monkeypatch.setattr("modules.meta.vmgp.DECODED_AT_ONCE", 10**6)
    torch.testing.assert_close(parts, predicted(learner, tasks), rtol=1e-12, atol=1e-12)

"""Splines are invertible with the slope they say; the flow GP is a change of variables of the deep kernel GP.

The contract of learners (fillers, order, batches, no support, densities, draws) is held in test_meta_contract.py, with
the spline at its start, the identity; here it bends.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from modules.contracts import FewShotTasks, GaussianMixture
from modules.meta import FlowPredictive, MonotoneSpline, OutputFlowGP

BOUND = 3.0


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bent_spline(dtype: torch.dtype = torch.float64) -> MonotoneSpline:
    """Four splines of eight pieces, far from the identity."""
    return MonotoneSpline((1.5 * draw(4, 23)).to(dtype), bound=BOUND)


def bent_learner(output_dim: int = 1) -> OutputFlowGP:
    torch.manual_seed(0)
    learner = OutputFlowGP(1, output_dim, num_bins=8, bound=BOUND, noise=0.1).double()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return learner


def make_tasks(output_dim: int = 1) -> FewShotTasks:
    x, y, keep = draw(3, 9, 1), 1.3 * draw(3, 9, output_dim, seed=1), torch.ones(3, 9, dtype=torch.bool)
    return FewShotTasks(x[:, :5], y[:, :5], keep[:, :5], x[:, 5:], y[:, 5:], keep[:, 5:], 27)


def predict(learner: OutputFlowGP, tasks: FewShotTasks) -> FlowPredictive:
    with torch.no_grad():
        return learner.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)


def grid(num_points: int = 20001, reach: float = 12.0) -> Tensor:
    return torch.linspace(-reach, reach, num_points, dtype=torch.float64)


def test_zeros_are_the_identity() -> None:
    spline, x = MonotoneSpline(torch.zeros(23, dtype=torch.float64), bound=BOUND), grid(101)
    mapped = spline.forward(x)
    torch.testing.assert_close(mapped.value, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(mapped.log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_inverse_comes_back(dtype: torch.dtype, tolerance: float) -> None:
    """Values that the map crowds together keep fewer digits: compared where they are mapped to, too."""
    spline, x = bent_spline(dtype), grid(1001).to(dtype).expand(4, -1)
    y = spline.forward(x).value
    back = spline.inverse(y)
    torch.testing.assert_close(back, x, rtol=0, atol=tolerance)
    torch.testing.assert_close(spline.forward(back).value, y, rtol=0, atol=tolerance)
    assert (y.diff(dim=-1) > 0).all()


def test_spline_is_continuous_at_its_knots_and_ends() -> None:
    spline = bent_spline()
    for sign in (-1e-12, 1e-12):
        mapped = spline.forward(spline.x + sign)
        torch.testing.assert_close(mapped.value, spline.y, rtol=0, atol=1e-9)
        torch.testing.assert_close(mapped.log_slope.exp(), spline.slope, rtol=1e-6, atol=0)


def test_log_slope_is_that_of_autograd() -> None:
    x = grid(1000).expand(4, -1).clone().requires_grad_()
    mapped = bent_spline().forward(x)
    (slope,) = torch.autograd.grad(mapped.value.sum(), x)
    torch.testing.assert_close(mapped.log_slope, slope.log(), rtol=0, atol=1e-9)


def test_gradients_of_the_spline_by_finite_differences() -> None:
    x = draw(2, 3).requires_grad_()

    def both(raw: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spline = MonotoneSpline(raw, bound=BOUND)
        return (*spline.forward(x), spline.inverse(x))

    assert torch.autograd.gradcheck(both, (draw(2, 11, seed=2).requires_grad_(), x))


def test_likelihood_is_a_change_of_variables() -> None:
    """The Jacobian of the whole task, by autograd, times the density of the GP."""
    learner, tasks = bent_learner(), make_tasks()
    x, y, keep = tasks.points()
    total = torch.zeros((), dtype=torch.float64)
    for b in range(3):

        def latent(y_M: Tensor, task: int = b) -> Tensor:
            return learner.spline(x[task : task + 1]).forward(y_M[None, :, None, None]).value.flatten()

        jacobian = torch.autograd.functional.jacobian(latent, y[b, :, 0])
        gaussian = learner.gp.log_likelihood(x[b : b + 1], latent(y[b, :, 0])[None, :, None], keep[b : b + 1])
        total = total + (gaussian.squeeze() + torch.linalg.slogdet(jacobian).logabsdet) / 9
    torch.testing.assert_close(learner.loss(tasks), -total / 3, rtol=0, atol=1e-10)


@pytest.mark.parametrize("output_dim", [1, 2])
def test_likelihood_is_the_product_of_one_step_predictions(output_dim: int) -> None:
    learner, tasks = bent_learner(output_dim), make_tasks(output_dim)
    x, y, keep = tasks.points()
    with torch.no_grad():
        steps = [
            learner.predict(x[:, :n], y[:, :n], keep[:, :n], x[:, n : n + 1]).log_prob(y[:, n : n + 1]).value
            for n in range(9)
        ]
        loss = learner.loss(tasks)
    torch.testing.assert_close(-torch.cat(steps, dim=1).sum(dim=1).mean() / 9, loss, rtol=0, atol=1e-9)


@pytest.mark.parametrize("num_support", [5, 0])
def test_density_integrates_to_one_and_to_the_cdf_and_mean(num_support: int) -> None:
    """The same query at every target of a fine grid."""
    learner, tasks = bent_learner(), make_tasks()
    n = num_support
    few = tasks.support_x[:, :n], tasks.support_y[:, :n], tasks.support_mask[:, :n]
    y = grid(40001, reach=10.0).expand(3, -1)
    with torch.no_grad():
        predictive = learner.predict(*few, tasks.query_x[:, :1].expand(-1, 40001, -1))
        one = learner.predict(*few, tasks.query_x[:, :1])
        density = predictive.log_prob(y[..., None]).value.exp()
        below = predictive.cdf(y[..., None])[..., 0]
    torch.testing.assert_close(torch.cumulative_trapezoid(density, y), below[:, 1:] - below[:, :1], rtol=0, atol=1e-5)
    assert below[:, 0].max() < 1e-9
    assert below[:, -1].min() > 1 - 1e-9
    expected = torch.trapezoid(density * y, y)
    torch.testing.assert_close(one.mean[:, 0, 0], expected, rtol=0, atol=5e-3)
    median = one.quantile(torch.tensor([0.5], dtype=torch.float64))[0]
    assert (one.mean - median).abs().max() > 0.05  # the trap: the map of the Gaussian's mean is the median


def test_mean_of_a_spline_that_jumps_is_right_to_a_hundredth() -> None:
    """Sixteen pieces whose widths and heights differ a hundredfold, against a rule with 256 times as many nodes."""
    spline = MonotoneSpline(3.0 * draw(5, 1, 1, 47), bound=4.0)
    means, variances = draw(1, 5, 1, 1, seed=1), torch.full((1, 5, 1, 1), 0.5, dtype=torch.float64)
    nodes = torch.linspace(-8, 8, 65537, dtype=torch.float64)
    values = spline.inverse(means[0][..., None] + 0.5**0.5 * nodes)
    expected = torch.trapezoid(values * torch.exp(-0.5 * nodes.square()), nodes) / (2 * math.pi) ** 0.5
    mean = FlowPredictive(GaussianMixture(means, variances), spline).mean
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.01)


def test_quantiles_invert_the_cdf_and_masses_add_up() -> None:
    predictive = predict(bent_learner(), make_tasks())
    levels = torch.tensor([0.05, 0.3, 0.9], dtype=torch.float64)
    low, middle, high = predictive.quantile(levels)
    for level, place in zip(levels, (low, middle, high), strict=True):
        torch.testing.assert_close(predictive.cdf(place), level.expand(3, 4, 1), rtol=0, atol=1e-8)
    masses = predictive.log_mass(torch.stack([low, middle])[0], high).value.exp()
    torch.testing.assert_close(masses, torch.full_like(masses, 0.85), rtol=0, atol=1e-8)


@pytest.mark.parametrize("joint", [False, True])
def test_draws_follow_the_cdf(joint: bool) -> None:
    predictive = predict(bent_learner(), make_tasks())
    with torch.no_grad():
        draws = predictive.sample(2000, joint=joint, generator=torch.Generator().manual_seed(0))
    places = torch.stack([predictive.cdf(y) for y in draws])
    assert max(kstest(places[:, b, q, 0], "uniform").statistic for b in range(3) for q in range(4)) < 0.05


def test_joint_density_is_the_product_of_one_step_predictions() -> None:
    learner, tasks = bent_learner(), make_tasks()
    x, y, keep = tasks.points()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    with torch.no_grad():
        together = predict(learner, tasks).joint_log_prob(tasks.query_y, mask).value
        steps = [
            learner.predict(x[:, :n], y[:, :n], keep[:, :n], x[:, n : n + 1]).log_prob(y[:, n : n + 1]).value
            for n in range(5, 9)
        ]
    expected = torch.where(mask, torch.cat(steps, dim=1), 0.0).sum(dim=1)
    torch.testing.assert_close(together, expected, rtol=0, atol=1e-8)


def test_learns_a_bent_output() -> None:
    """Targets sinh(3 z) / 10 of a smooth z: the flow beats the deep kernel GP it starts from."""
    generator = torch.Generator().manual_seed(0)

    def draw_tasks(num_tasks: int) -> FewShotTasks:
        x = torch.randn(num_tasks, 8, 1, generator=generator)
        phase = 6.3 * torch.rand(num_tasks, 1, 1, generator=generator)
        y = torch.sinh(3 * torch.sin(x + phase) + 0.1 * torch.randn(num_tasks, 8, 1, generator=generator)) / 10
        keep = torch.ones(num_tasks, 8, dtype=torch.bool)
        return FewShotTasks(x[:, :4], y[:, :4], keep[:, :4], x[:, 4:], y[:, 4:], keep[:, 4:], 8 * num_tasks)

    torch.manual_seed(0)
    learner = OutputFlowGP()
    losses = {}
    for name, model in {"flow": learner, "none": OutputFlowGP().gp}.items():
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(150):
            loss = model.loss(draw_tasks(16))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[name] = float(model.loss(draw_tasks(500)).detach())
    assert losses["flow"] < losses["none"] - 0.15


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_bins": 1}, "num_bins=1 must lie"), ({"bound": 0.0}, "bound=0.0"), ({"feature_dim": 0}, "feature_dim=0")],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutputFlowGP(**options)

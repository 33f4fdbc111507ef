"""VMGP with a linear decoder, where everything is known: evidence, best posteriors, predictive, bounds (float64).

The constants are log p(y) and the best bounds of three latents at nine points, computed with dense matrices.

Letters: B tasks, N support points, M points, Q query points, J latents.
"""

from __future__ import annotations

import math

import gpytorch
import pytest
import torch
from dense_vmgp import covariance, gaussian, random_tasks, two_step
from torch import Tensor, nn

from modules.contracts import FewShotTasks
from modules.meta import Rbf, Vmgp
from modules.meta.latent_posterior import LabelledPoints
from modules.meta.posterior_sites import GaussianSites, site_posterior


class Known:
    """Nine points of three latents with a linear decoder, the numbers drawn in a fixed order."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.x_MX, self.w_J, self.y_M = (torch.randn(*shape, dtype=torch.float64) for shape in ((9, 1), (1, 3), (9,)))
        self.w_J = self.w_J[0]
        self.variance = 0.1
        distances_MM = torch.cdist(self.x_MX, self.x_MX)
        lengthscales_J11 = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None]
        self.c_JMM = torch.exp(-0.5 * (distances_MM / lengthscales_J11) ** 2) + 0.05 * torch.eye(9).double()

    def bound(self, mean_JM: Tensor, covariance: Tensor) -> Tensor:
        """ELBO of a Gaussian q of vec(Z), ordered by latent."""
        prior = torch.distributions.MultivariateNormal(torch.zeros(27).double(), torch.block_diag(*self.c_JMM))
        q = torch.distributions.MultivariateNormal(mean_JM.reshape(-1), covariance)
        gain = torch.kron(self.w_J[None], torch.eye(9).double())
        spread = (gain @ covariance @ gain.T).trace()
        misfit = (self.y_M - gain @ mean_JM.reshape(-1)).square().sum() + spread
        fit = -0.5 * misfit / self.variance - 4.5 * math.log(2 * math.pi * self.variance)
        return fit - torch.distributions.kl_divergence(q, prior)


def test_bounds_of_three_families_have_the_known_values() -> None:
    known = Known()
    gain = torch.kron(known.w_J[None], torch.eye(9).double())
    noise = known.variance * torch.eye(9).double()
    prior = torch.block_diag(*known.c_JMM)
    mean, exact, log_evidence = gaussian(torch.zeros(27).double(), prior, gain, noise, known.y_M)
    assert log_evidence.item() == pytest.approx(-15.3106, abs=5e-5)
    mean_JM = mean.reshape(3, 9)
    assert float(known.bound(mean_JM, exact)) == pytest.approx(float(log_evidence), abs=1e-10)
    sites_J = known.variance / known.w_J.square()
    both = list(zip(known.c_JMM, sites_J, strict=True))
    independent = [
        torch.linalg.inv(torch.linalg.inv(c) + torch.eye(9) / r) for c, r in zip(known.c_JMM, sites_J, strict=True)
    ]
    assert float(known.bound(mean_JM, torch.block_diag(*independent))) == pytest.approx(-18.33, abs=5e-3)
    factorised = [1 / (torch.linalg.inv(c).diagonal() + 1 / r) for c, r in both]
    assert float(known.bound(mean_JM, torch.diag(torch.cat(factorised)))) == pytest.approx(-22.85, abs=5e-3)


def test_prediction_in_two_steps_is_exact_with_the_exact_posterior() -> None:
    """z at the first five points from q, z at the other four from the prior given them."""
    known = Known()
    points, prior_mean = torch.arange(27).view(3, 9), torch.zeros(27).double()
    prior = torch.distributions.MultivariateNormal(prior_mean, torch.block_diag(*known.c_JMM))
    support_K, query_K = points[:, :5].flatten(), points[:, 5:].flatten()
    gain, noise = torch.kron(known.w_J[None], torch.eye(5).double()), known.variance * torch.eye(5).double()
    support_covariance = prior.covariance_matrix[support_K][:, support_K]
    mean, covariance, _ = gaussian(prior_mean[:15], support_covariance, gain, noise, known.y_M[:5])
    q = torch.distributions.MultivariateNormal(mean, (covariance + covariance.T) / 2)
    latent = two_step(q, prior, support_K, query_K)
    out = torch.kron(known.w_J[None], torch.eye(4).double())
    exact_MM = (known.w_J.square()[:, None, None] * known.c_JMM).sum(dim=0)
    pull = torch.linalg.solve(exact_MM[:5, :5] + noise, exact_MM[:5, 5:]).T
    torch.testing.assert_close(out @ latent.mean, pull @ known.y_M[:5], rtol=0, atol=1e-13)
    expected = exact_MM[5:, 5:] - pull @ exact_MM[:5, 5:]
    torch.testing.assert_close(out @ latent.covariance_matrix @ out.T, expected, rtol=0, atol=1e-13)


def linear(latent_dim: int, **options: object) -> Vmgp:
    torch.manual_seed(1)
    learner = Vmgp(latent_dim=latent_dim, kernel=Rbf, decoder=nn.Linear, **options)  # type: ignore[arg-type]
    learner = learner.double()
    with torch.no_grad():
        learner.prior.latents.raw_v_J += 0.3 * torch.randn(latent_dim)
        learner.prior.mean.value += torch.randn(latent_dim)  # type: ignore[operator]
    return learner


def exact_sites(learner: Vmgp, points: LabelledPoints) -> tuple[Tensor, Tensor]:
    """Sites with which q is the posterior, for one latent: [B, 1, M] each."""
    weight, bias = learner.decoder.weight[0, 0], learner.decoder.bias[0]  # type: ignore[index, union-attr]
    labels_BJM = ((points.y - bias) / weight).mT
    return labels_BJM, (learner.variance_Y / weight**2).expand_as(labels_BJM)


def evidence(learner: Vmgp, points: LabelledPoints, task: int = 0) -> Tensor:
    """log p(Y | X) of a task by dense matrices."""
    keep = points.mask[task]
    x, y = points.x[task, keep], points.y[task, keep, 0]
    gain = torch.kron(torch.eye(len(x)).double(), learner.decoder.weight)  # type: ignore[arg-type]
    prior = covariance(learner.prior.kernel(x, x), learner.prior.latents)
    mean = learner.prior.mean(x).reshape(-1)
    noise = learner.variance_Y * torch.eye(len(x)).double()
    return gaussian(mean, prior, gain, noise, y - learner.decoder.bias)[2]  # type: ignore[operator]


def expected_bound(learner: Vmgp, points: LabelledPoints, sites: tuple[Tensor, Tensor]) -> Tensor:
    """ELBO [B] of a linear decoder without draws."""
    q = site_posterior(learner.prior, points.x, points.mask, *sites)
    weight_J = learner.decoder.weight[0]  # type: ignore[index]
    spread_BM = (weight_J.square()[:, None] * q.variance_BJM).sum(dim=1)
    fit_BM = learner.log_likelihood(q.mean_BJM.mT[None], points)[0] - 0.5 * spread_BM / learner.variance_Y
    return torch.where(points.mask, fit_BM, 0.0).sum(dim=1) - q.divergence_B


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_elbo_of_random_linear_decoders_stays_below_the_evidence(latent_dim: int) -> None:
    """200 models with weights, noises, scales and encoders of their own, a task each; one latent has an exact q."""
    points = LabelledPoints(*random_tasks(200, ragged=True).points())
    learner, generator = linear(latent_dim), torch.Generator().manual_seed(0)
    assert isinstance(learner.posterior, GaussianSites)
    start = {name: value.clone() for name, value in learner.state_dict().items()}
    for task in range(200):
        with torch.no_grad():
            for name, parameter in learner.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(start[name] + (1.0 if "decoder" in name else 0.3) * noise)
            one = LabelledPoints(*(value[task : task + 1] for value in points))
            log_evidence = evidence(learner, one)
            assert expected_bound(learner, one, learner.posterior.sites(one)) < log_evidence
            if latent_dim == 1:
                best = expected_bound(learner, one, exact_sites(learner, one))[0]
                torch.testing.assert_close(best, log_evidence, rtol=1e-10, atol=1e-10)


def test_loss_is_the_negative_elbo_per_point() -> None:
    learner, tasks = linear(3, num_draws=20_000), random_tasks(3, ragged=True)
    points = LabelledPoints(*tasks.points())
    assert isinstance(learner.posterior, GaussianSites)
    bound_B = expected_bound(learner, points, learner.posterior.sites(points))
    expected = -(bound_B / points.mask.sum(dim=1)).mean()
    loss = learner.loss(tasks, torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)


def test_predictive_of_one_latent_is_that_of_an_exact_gp() -> None:
    """Mean and covariance against GPyTorch; our kernel has a jitter of 1e-6, which its noise is given too."""
    learner, tasks = linear(1), random_tasks(1, num_support=6, num_queries=5)
    support = LabelledPoints(tasks.support_x, tasks.support_y, tasks.support_mask)
    form, weight = learner.prior.latents.independent(), learner.decoder.weight[0, 0]  # type: ignore[index, union-attr]
    latent_noise, scale = form.noise_J[0], form.scale_J[0]

    class Exact(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            noise = learner.variance_Y + weight**2 * (latent_noise + 1e-6 * scale)
            likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(noise.detach().expand(6))
            super().__init__(support.x[0], support.y[0, :, 0], likelihood)

        def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
            mean = learner.prior.mean(x)[..., 0] * weight + learner.decoder.bias  # type: ignore[operator]
            return gpytorch.distributions.MultivariateNormal(mean, weight**2 * scale * learner.prior.kernel(x, x))

    with torch.no_grad():
        expected = Exact().eval()(tasks.query_x[0])
    sites = exact_sites(learner, support)
    residual_BJN = sites[0] - learner.prior.mean(support.x).mT
    options = {"form": form, "site_variance_BJN": sites[1]}
    wide, narrow = (
        learner.prior.regress(support.x, support.mask, tasks.query_x, joint=joint, **options)  # type: ignore[arg-type]
        for joint in (True, False)
    )
    latent_mean = learner.prior.mean(tasks.query_x).mT + (residual_BJN[..., None, :] @ wide.gain_BJNQ)[..., 0, :]
    mean = latent_mean[0, 0] * weight + learner.decoder.bias  # type: ignore[operator]
    torch.testing.assert_close(mean, expected.mean, rtol=0, atol=1e-8)
    variance = expected.covariance_matrix.diagonal()
    joint = weight**2 * (wide.spread @ wide.spread.mT)[0, 0]
    target = expected.covariance_matrix + torch.diag(weight**2 * latent_noise + 1e-6 * variance)
    torch.testing.assert_close(joint, target, rtol=0, atol=1e-8)
    marginal = weight**2 * narrow.spread[0, 0].square()
    torch.testing.assert_close(marginal, variance + weight**2 * latent_noise, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("posterior", "covariance"), [("sites", "independent"), ("free", "kronecker")])
def test_importance_bound_grows_with_its_draws_up_to_the_evidence(posterior: str, covariance: str) -> None:
    tasks = random_tasks(1, num_support=3, num_queries=0)
    options = {"posterior": posterior, "covariance": covariance, "sigma": 1.0}
    learner = linear(2, **options)
    fit(learner, tasks)
    log_evidence = evidence(learner, LabelledPoints(*tasks.points())).item()
    bounds = []
    for num_draws, repeats in ((1, 400), (8, 400), (10_000, 1)):
        importance = linear(2, objective="iwae", num_draws=num_draws, **options)
        importance.load_state_dict(learner.state_dict())
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            losses = torch.stack([importance.loss(tasks, generator) for _ in range(repeats)])
        bounds.append(-3 * losses.mean().item())
    assert bounds[0] + 0.01 < bounds[1] < log_evidence
    assert bounds[2] == pytest.approx(log_evidence, abs=0.1)


def fit(learner: Vmgp, tasks: FewShotTasks) -> None:
    """Brings q near the posterior; the rest stays as it is."""
    optimizer, generator = torch.optim.Adam(learner.posterior.parameters(), 0.01), torch.Generator().manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        learner.loss(tasks, generator).backward()
        optimizer.step()

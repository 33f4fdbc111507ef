"""Deep kernel GPs equal GPyTorch's exact GP, and cope with what real tasks bring.

The contract of learners (fillers, order, batches, no support) is held in test_meta_contract.py.
"""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any, cast

import gpytorch
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from modules.contracts import FewShotTasks
from modules.meta import DeepKernelGP, MultilayerPerceptron, Rbf, SpectralMixture

NARROW = partial(MultilayerPerceptron, hidden_dims=(8,), activation=nn.Tanh)


class Reference(gpytorch.models.ExactGP):
    """GPyTorch's exact GP of one target dimension with the parts of a learner: its parameters stay the learner's."""

    def __init__(self, learner: DeepKernelGP, x: Tensor, y: Tensor) -> None:
        likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(learner.noise_Y.expand(len(y)))
        super().__init__(x, y, likelihood)
        self.learner = learner
        self.kernel = gpytorch.kernels.RBFKernel(ard_num_dims=learner.feature_dim)
        del self.kernel.raw_lengthscale
        self.kernel.raw_lengthscale = cast(Rbf, learner.kernel).raw_lengthscale_F[None]

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        covariance = self.kernel(self.learner.features(x)).to_dense() * self.learner.scale_Y
        return gpytorch.distributions.MultivariateNormal(self.learner.mean(x)[..., 0], covariance)


def make(**options: Any) -> DeepKernelGP:
    torch.manual_seed(0)
    learner = DeepKernelGP(2, 1, network=NARROW if any(options.values()) else None, feature_dim=3, **options).double()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return learner


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_set(x: Tensor, y: Tensor, mask: Tensor | None = None) -> FewShotTasks:
    """All points as queries; the loss takes them together anyway."""
    mask = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    return FewShotTasks(x[:, :0], y[:, :0], mask[:, :0], x, y, mask, int(mask.sum()))


@pytest.mark.parametrize("deep_kernel", [False, True])
@pytest.mark.parametrize("deep_mean", [False, True])
def test_marginal_likelihood_and_its_gradients_are_those_of_gpytorch(deep_kernel: bool, deep_mean: bool) -> None:
    learner = make(deep_kernel=deep_kernel, deep_mean=deep_mean)
    x, y = draw(4, 7, 2), draw(4, 7, 1, seed=1)
    ours = learner.loss(one_set(x, y))
    gradients = torch.autograd.grad(ours, list(learner.parameters()))
    theirs = torch.zeros((), dtype=torch.float64)
    for b in range(4):
        reference = Reference(learner, x[b], y[b, :, 0])
        objective = gpytorch.mlls.ExactMarginalLogLikelihood(reference.likelihood, reference)
        theirs = theirs - objective(reference.train()(x[b]), y[b, :, 0]) / 4
    expected = torch.autograd.grad(theirs, list(learner.parameters()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("deep", [False, True])
def test_predictions_are_those_of_gpytorch(deep: bool) -> None:
    learner = make(deep_kernel=deep, deep_mean=deep)
    x, y, query_x, query_y = draw(3, 5, 2), draw(3, 5, 1, seed=1), draw(3, 6, 2, seed=2), draw(3, 6, 1, seed=3)
    with torch.no_grad():
        predictive = learner.predict(x, y, torch.ones(3, 5, dtype=torch.bool), query_x)
        for b in range(3):
            posterior = Reference(learner, x[b], y[b, :, 0]).eval()(query_x[b])
            covariance = posterior.covariance_matrix + learner.noise_Y * torch.eye(6, dtype=torch.float64)
            torch.testing.assert_close(predictive.mean[b, :, 0], posterior.mean, rtol=0, atol=1e-8)
            torch.testing.assert_close(predictive.variances_SBQY[0, b, :, 0], covariance.diag(), rtol=0, atol=1e-8)
            together = MultivariateNormal(posterior.mean, covariance).log_prob(query_y[b, :, 0])
            torch.testing.assert_close(predictive.joint_log_prob(query_y).value[b], together, rtol=0, atol=1e-7)


def test_likelihood_is_the_product_of_one_step_predictions() -> None:
    """The chain rule, for two target dimensions: each point is predicted from those before it."""
    torch.manual_seed(0)
    learner = DeepKernelGP(1, 2).double()
    x, y = draw(3, 6, 1), draw(3, 6, 2, seed=1)
    keep = torch.ones(3, 6, dtype=torch.bool)
    with torch.no_grad():
        steps = [
            learner.predict(x[:, :n], y[:, :n], keep[:, :n], x[:, n : n + 1]).log_prob(y[:, n : n + 1]).value
            for n in range(6)
        ]
        together = learner.log_likelihood(x, y, keep)
    torch.testing.assert_close(torch.cat(steps, dim=1).sum(dim=1), together, rtol=0, atol=1e-8)


def test_loss_is_nats_per_point_of_each_task() -> None:
    """A task of 2 points weighs as much as one of 6; fillers, however far, change no bit of it."""
    torch.manual_seed(0)
    learner = DeepKernelGP()
    x, y = draw(2, 6, 1).float(), draw(2, 6, 1, seed=1).float()
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    value = learner.loss(one_set(x, y, mask))
    alone = [learner.loss(one_set(x[:1], y[:1])), learner.loss(one_set(x[1:, :2], y[1:, :2]))]
    torch.testing.assert_close(value, sum(alone) / 2)
    far = torch.where(mask[..., None], 0.0, 1e8)
    assert torch.equal(learner.loss(one_set(x + far, y + far, mask)), value)


def test_prior_predictive_and_one_point_by_hand() -> None:
    torch.manual_seed(0)
    learner = DeepKernelGP(deep_kernel=False, noise=0.25).double()
    zero, some = torch.zeros(1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    keep = torch.ones(1, 1, dtype=torch.bool)
    with torch.no_grad():
        noise = float(learner.noise_Y)
        prior = learner.predict(zero[:, :0], zero[:, :0], keep[:, :0], zero)
        posterior = learner.predict(zero, some, keep, zero + 0.5)
    assert float(prior.mean) == 0.0
    assert float(prior.variances_SBQY) == pytest.approx(1 + noise, rel=1e-7)
    covariance = math.exp(-0.125)
    assert noise == pytest.approx(0.25, abs=2e-6)
    assert float(posterior.mean) == pytest.approx(2 * covariance / (1 + noise), rel=1e-6)
    assert float(posterior.variances_SBQY) == pytest.approx(1 + noise - covariance**2 / (1 + noise), rel=1e-6)


def test_gradients_of_the_loss_by_finite_differences() -> None:
    learner = DeepKernelGP(network=NARROW, feature_dim=2, deep_mean=True, kernel=SpectralMixture).double()
    x, y = draw(2, 4, 1), draw(2, 4, 1, seed=1).requires_grad_()
    names, values = zip(*learner.named_parameters(), strict=True)

    def loss(y: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Loss(learner), {f"learner.{k}": v for k, v in state.items()}, (x, y))

    assert torch.autograd.gradcheck(loss, (y, *values))


class _Loss(nn.Module):
    def __init__(self, learner: DeepKernelGP) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.learner.loss(one_set(x, y))


@pytest.mark.parametrize("kernel", [Rbf, SpectralMixture])
def test_training_on_clustered_points_in_float32_stays_finite(kernel: type[Rbf] | type[SpectralMixture]) -> None:
    """Twenty points in two places, without noise: no NaN, no failed factorisation, no warning."""
    torch.manual_seed(0)
    learner = DeepKernelGP(kernel=kernel)
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(150):
            x = torch.randn(8, 1, 1, generator=generator).sign() + 1e-4 * torch.randn(8, 20, 1, generator=generator)
            loss = learner.loss(one_set(x, torch.sin(x)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)
    assert loss < -0.5


@pytest.mark.parametrize(("width", "num_mixtures"), [(1, 4), (3, 1), (3, 4), (40, 2)])
def test_spectral_mixture_is_a_sum_of_those_of_gpytorch(width: int, num_mixtures: int) -> None:
    """Of several components in several dimensions GPyTorch makes a product over dimensions of sums: we follow the paper
    (its Eq. 12), a sum of products, and so compare component by component."""
    torch.manual_seed(0)
    kernel = SpectralMixture(width, num_mixtures=num_mixtures).double()
    nn.init.normal_(kernel.logits_C)
    x1, x2 = draw(2, 5, width), draw(2, 6, width, seed=1)
    expected = torch.zeros(2, 5, 6, dtype=torch.float64)
    for c in range(num_mixtures):
        theirs = gpytorch.kernels.SpectralMixtureKernel(num_mixtures=1, ard_num_dims=width).double()
        theirs.mixture_weights = torch.ones(1)
        theirs.mixture_means = kernel.frequency_CF[c].abs()[None, None]
        theirs.mixture_scales = nn.functional.softplus(kernel.raw_bandwidth_CF[c])[None, None]
        expected += kernel.logits_C.softmax(dim=0)[c] * theirs(x1, x2).to_dense()
    torch.testing.assert_close(kernel(x1, x2), expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(kernel(x1, x1).diagonal(dim1=1, dim2=2), torch.ones(2, 5, dtype=torch.float64))
    assert torch.linalg.eigvalsh(kernel(x1, x1)).min() > -1e-12


def test_spectral_mixture_of_wide_features_starts_alive() -> None:
    """The 40 features of deep kernel transfer start neither all equal nor all apart."""
    torch.manual_seed(0)
    learner = DeepKernelGP(kernel=SpectralMixture, feature_dim=40)
    features = learner.features(draw(1, 50, 1).float())
    covariance = learner.kernel(features, features)
    assert 0.2 < covariance.mean() < 0.99
    assert -0.9 < covariance.min() < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_dim": 0}, "feature_dim=0 must be at least 1"),
        ({"noise": 1e-5}, "noise_floor=0.0001 must lie between 0 and noise=1e-05"),
        ({"deep_kernel": False, "network": NARROW}, "network has no effect"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepKernelGP(**options)


def test_a_mixture_needs_a_component() -> None:
    with pytest.raises(ValueError, match="num_mixtures=0 must be at least 1"):
        SpectralMixture(1, num_mixtures=0)

"""Variational meta-learning with Gaussian processes, VMGP (arXiv:2110.11044).

A Gaussian process prior gives each point of a task J latents, a network decodes them to a target, and an amortised
Gaussian posterior infers them from labels. The predictive is a Gaussian process pushed through a
network: skewed or many-peaked where the tasks ask for it. Nothing is optimised for a new task.

Letters: B tasks, N support points, M points, Q query points, X input width, Y target width, J latents, S samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one, check_choice
from modules.contracts import FewShotLearner, FewShotTasks, GaussianMixture

from .coregionalization import Coregionalization
from .kernels import DeepKernel, KernelBuilder, Rbf, inverse_softplus
from .latent_posterior import LabelledPoints, LatentPosterior
from .latent_prior import LatentPrior
from .networks import Constant, MultilayerPerceptron
from .posterior_free import FreePosterior
from .posterior_sites import GaussianSites
from .vmgp_objectives import negative_elbo, negative_importance_bound, negative_query_likelihood

KERNEL_WIDTH = 10
INITIAL_SIGMA = 0.1
"""In scaled units; from a higher start, peaks of the predictive stay blurred for thousands of steps."""
VARIANCE_FLOOR = 1e-4
"""Of the observation noise, in scaled units: a density has no bound where targets are discrete."""
DECODED_AT_ONCE = 2**12
"""Latent vectors that `predict` draws and decodes together. Samples need no loop; their hidden layers need memory (40
units of 200 x 200 x 1000 of them: 6 GiB each), so they come in chunks of 640 KiB a layer: from 5 MiB on, the
allocator hands them back to the system and asks for them again, which can take twice as long as the arithmetic."""
CONDITIONED_AT_ONCE = 2**22
"""Numbers in the matrices of support and queries that `predict` holds together: 16 MiB in float32, a few times over."""

Network = Callable[[int, int], nn.Module]
"""Builds a network from the widths of its input and output; it works on the last dimension."""

PosteriorKind = Literal["sites", "free"]
CovarianceKind = Literal["independent", "kronecker"]
ObjectiveKind = Literal["elbo", "iwae", "query"]


class Vmgp(FewShotLearner):
    """Gaussian process latents, decoded by a network.

    `Vmgp(posterior="free", covariance="kronecker", sigma=0.0707)` is the published model: its weight 0.01 of the KL
    divergence beside a sum of squares is the ELBO with a variance of 0.005.

    Args:
        input_dim: X.
        output_dim: Y.
        posterior: "sites": the prior conditioned on pseudo-labels, whose predictive has a closed form; "free": the
            published one, a Gaussian process of its own.
        covariance: "independent" latents, or "kronecker": the published B = w w^T + diag(v) over latents.
        sigma: Standard deviation of the observation noise in scaled units: "learned" (one for each target dimension),
            or a number.
        latent_dim: J.
        kernel: Builds the kernel of the inputs, of unit scale; None: an RBF of ten learned features.
        mean: Builds the prior mean [.., X] -> [.., J] of the latents; None: learned constants.
        decoder: Builds the decoder [.., J] -> [.., Y]; None: two hidden layers of 40.
        encoder: Builds the network of q from points [.., X + Y]; None: two hidden layers of 40.
        objective: "elbo" of all points; "iwae": its importance-weighted form; "query": log-likelihood of each query
            given the support.
        num_draws: Draws of the latents in a training step; None: 20 for "iwae", 8 for the others.

    Raises:
        ValueError: Options that do not fit together, or out of range.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        posterior: PosteriorKind = "sites",
        covariance: CovarianceKind = "independent",
        sigma: Literal["learned"] | float = "learned",
        latent_dim: int = 10,
        kernel: KernelBuilder | None = None,
        mean: Network | None = None,
        decoder: Network | None = None,
        encoder: Network | None = None,
        objective: ObjectiveKind = "elbo",
        num_draws: int | None = None,
    ) -> None:
        super().__init__(input_dim, output_dim)
        if num_draws is None:
            num_draws = 20 if objective == "iwae" else 8
        check_choice("objective", objective, get_args(ObjectiveKind))
        check_at_least_one(latent_dim=latent_dim, num_draws=num_draws)
        _check_posterior(posterior, covariance)
        _check_sigma(sigma)
        rank = int(covariance == "kronecker")
        self.latent_dim = latent_dim
        self.objective = objective
        self.num_draws = num_draws
        self.prior = LatentPrior(
            kernel(input_dim) if kernel else _deep_kernel(input_dim),
            mean=(mean or Constant)(input_dim, latent_dim),
            latents=Coregionalization(latent_dim, rank=rank, scale=1.0, noise=0.01),
        )
        self.decoder = (decoder or MultilayerPerceptron)(latent_dim, output_dim)
        self.posterior = _posterior(posterior, input_dim, output_dim, latent_dim, rank, encoder or MultilayerPerceptron)
        self.raw_sigma_Y: nn.Parameter | None = None
        if isinstance(sigma, str):
            self.raw_sigma_Y = nn.Parameter(torch.full((output_dim,), inverse_softplus(INITIAL_SIGMA)))
        else:
            self.register_buffer("fixed_variance_Y", torch.full((output_dim,), sigma**2), persistent=False)

    @property
    def variance_Y(self) -> Tensor:
        """Variance of the observation noise."""
        if self.raw_sigma_Y is None:
            return self.fixed_variance_Y  # type: ignore[return-value]
        return F.softplus(self.raw_sigma_Y).square() + VARIANCE_FLOOR

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        parts = self.prior, self.posterior, self.log_likelihood
        if self.objective == "query":
            support = LabelledPoints(tasks.support_x, tasks.support_y, tasks.support_mask)
            counted = LabelledPoints(tasks.query_x, tasks.query_y, tasks.query_mask)
            loss_B = negative_query_likelihood(*parts, support, counted, self.num_draws, generator)
        else:
            objective = negative_elbo if self.objective == "elbo" else negative_importance_bound
            counted = LabelledPoints(*tasks.points())
            loss_B = objective(*parts, counted, self.num_draws, generator)
        return (loss_B / counted.mask.sum(dim=-1).clamp(min=1)).mean()

    @torch.no_grad()
    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> GaussianMixture:
        support = LabelledPoints(support_x, support_y, support_mask)
        variance_Y = self.variance_Y.clone()

        @torch.no_grad()
        def means(joint: bool) -> Tensor:
            return self._decoded(support, query_x, num_samples, generator, joint=joint)

        @cache
        def joint() -> GaussianMixture:
            return GaussianMixture(means(joint=True), variance_Y, sampled=True)

        return GaussianMixture(means(joint=False), variance_Y, sampled=True, joint=joint)

    def log_likelihood(self, latents_SBMJ: Tensor, points: LabelledPoints) -> Tensor:
        """log N(y; decoder(z), sigma^2) of each point, [S, B, M]; 0 for filler."""
        variance_Y = self.variance_Y
        squares_SBMY = (points.y - self.decoder(latents_SBMJ)).square() / variance_Y
        logs_SBM = -0.5 * (squares_SBMY + (2 * math.pi * variance_Y).log()).sum(dim=-1)
        return torch.where(points.mask, logs_SBM, 0.0)

    def _decoded(
        self, support: LabelledPoints, query_x: Tensor, num_samples: int, generator: Generator | None, *, joint: bool
    ) -> Tensor:
        """Decoded draws [S, B, Q, Y], some tasks and samples at a time, so that no more than their latents are held."""
        num_tasks, num_queries = query_x.shape[:2]
        decoded_SBQY = query_x.new_empty(num_samples, num_tasks, num_queries, self.output_dim)
        num_support = support.x.shape[1]
        matrix_numbers = self.latent_dim * num_support * (num_support + num_queries)
        at_once = min(DECODED_AT_ONCE // max(1, num_queries), CONDITIONED_AT_ONCE // max(1, matrix_numbers))
        tasks_at_once = max(1, at_once)
        parts = (tensor.split(tasks_at_once) for tensor in (*support, query_x))
        for *known, x, decoded in zip(*parts, decoded_SBQY.split(tasks_at_once, dim=1), strict=True):
            draw = self.posterior.at_queries(self.prior, LabelledPoints(*known), x, joint=joint)
            samples_at_once = max(1, DECODED_AT_ONCE // max(1, x.shape[:2].numel()))
            for chunk in decoded.split(samples_at_once):
                chunk.copy_(self.decoder(draw(len(chunk), generator)))
        return decoded_SBQY


def _check_posterior(posterior: str, covariance: str) -> None:
    check_choice("posterior", posterior, get_args(PosteriorKind))
    check_choice("covariance", covariance, get_args(CovarianceKind))
    if (posterior, covariance) == ("sites", "kronecker"):
        raise ValueError(
            "covariance=kronecker does not go with posterior=sites: sites need independent latents, and lose nothing "
            "by it, as the first layer of the decoder mixes them; use covariance=independent or posterior=free"
        )


def _check_sigma(sigma: str | float) -> None:
    is_valid = sigma == "learned" if isinstance(sigma, str) else sigma > 0
    if not is_valid:
        raise ValueError(f"sigma={sigma} must be positive, or learned")


def _deep_kernel(input_dim: int) -> DeepKernel:
    return DeepKernel(MultilayerPerceptron(input_dim, KERNEL_WIDTH), Rbf(KERNEL_WIDTH))


def _posterior(
    kind: str, input_dim: int, output_dim: int, latent_dim: int, rank: int, encoder: Network
) -> LatentPosterior:
    if kind == "sites":
        return GaussianSites(encoder(input_dim + output_dim, 2 * latent_dim))
    return FreePosterior(
        encoder(input_dim + output_dim, latent_dim + input_dim),
        kernel=Rbf(input_dim),
        latents=Coregionalization(latent_dim, rank=rank, scale=0.1, noise=0.01),  # labels tell more than no labels
    )

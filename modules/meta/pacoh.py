"""PACOH (arXiv:2002.05551): meta-learned GP priors that few tasks do not overfit, as a hyper-prior holds them back.

Letters: S particles, B tasks, N support points, Q query points, X input width, Y target width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from modules.checks import check_at_least_one, check_choice, check_positive
from modules.contracts import FewShotLearner, FewShotTasks, GaussianMixture

from .gp_particles import GaussianProcessParticles
from .stein import stein_particles

NOISE_PRIOR_MEAN = -1.0
"""Of the noise variance before its softplus, as in the authors' code; all other parameters are 0 in the mean."""


class Pacoh(FewShotLearner):
    """GP priors drawn from, or at the peak of, their PAC-optimal hyper-posterior.

    That is p(prior) ~ hyper-prior^prior_factor * exp(mean over tasks of the log marginal likelihood of a task): the
    authors' weights in the limit of many tasks, which are 1 + points/tasks times higher for the hyper-prior of few.

    Args:
        input_dim: X.
        output_dim: Y.
        inference: "svgd" keeps particles that spread over the hyper-posterior, by Stein variational gradient descent;
            "map" one, which climbs to a peak of it.
        num_particles: S of "svgd"; None: 10.
        prior_factor: Weight of the hyper-prior.
        weight_prior_sd: Standard deviation of the weights of the networks under the hyper-prior.
        bias_prior_sd: The same for their biases; parameters of kernel and noise, before softplus, have 1.
        hidden_dims: Hidden widths of the networks of mean and features, with tanh between.
        feature_dim: Width of what the kernel compares.
        noise_floor: The least variance of the noise, in scaled units.

    Raises:
        ValueError: An argument is not positive (`prior_factor`: negative), `inference` is another word, or
            `num_particles` is given with "map".
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        inference: Literal["map", "svgd"] = "svgd",
        num_particles: int | None = None,
        prior_factor: float = 0.01,
        weight_prior_sd: float = 0.5,
        bias_prior_sd: float = 3.0,
        hidden_dims: Sequence[int] = (32, 32, 32, 32),
        feature_dim: int = 1,
        noise_floor: float = 1e-3,
    ) -> None:
        super().__init__(input_dim, output_dim)
        check_choice("inference", inference, ("map", "svgd"))
        if inference == "map" and num_particles is not None:
            raise ValueError(f"num_particles={num_particles} has no effect with inference=map: remove it, or set svgd")
        if num_particles is None:
            num_particles = 1 if inference == "map" else 10
        check_at_least_one(num_particles=num_particles, feature_dim=feature_dim)
        check_positive(weight_prior_sd=weight_prior_sd, bias_prior_sd=bias_prior_sd, noise_floor=noise_floor)
        if not prior_factor >= 0:
            raise ValueError(f"prior_factor={prior_factor} must not be negative")
        self.prior_factor = prior_factor
        self.weight_prior_sd = weight_prior_sd
        self.bias_prior_sd = bias_prior_sd
        self.priors = GaussianProcessParticles(
            input_dim,
            output_dim,
            num_particles=num_particles,
            hidden_dims=hidden_dims,
            feature_dim=feature_dim,
            noise_floor=noise_floor,
        )
        for name, parameter in self.priors.named_parameters():
            nn.init.normal_(parameter, *self._hyper_prior(name))

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        """Negative log marginal likelihood of all points of a task, the mean over particles.

        That is the value. The gradient is more: that of the hyper-prior is in it, and with several particles it is
        minus the direction in which Stein variational gradient descent moves them (`stein_particles`), divided, as the
        value is, by the points of a task.
        """
        particles, repulsion = stein_particles(dict(self.priors.named_parameters()))
        x_BMX, y_BMY, mask_BM = tasks.points()
        log_likelihood_SB = functional_call(self.priors, particles, (x_BMX, y_BMY, mask_BM))
        share_B = 1 / mask_BM.to(y_BMY).sum(dim=1).clamp(min=1)
        hidden = share_B.mean() * (repulsion - self.prior_factor * self.log_hyper_prior(particles).mean())
        return hidden - hidden.detach() - (log_likelihood_SB * share_B).mean()

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
        """The equal mixture of the particles' GPs given the support, in closed form."""
        return self.priors.posterior(support_x, support_y, support_mask, query_x)

    def log_hyper_prior(self, particles: Mapping[str, Tensor]) -> Tensor:
        """Log density [S] of particles, given by the names that parameters have in `priors`, up to a constant."""
        logs = []
        for name, part in particles.items():
            mean, sd = self._hyper_prior(name)
            logs.append(-0.5 * ((part - mean) / sd).square().flatten(1).sum(dim=1))
        return torch.stack(logs).sum(dim=0)

    def _hyper_prior(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation of a parameter of `priors` under the hyper-prior."""
        if ".weights." in name:
            return 0.0, self.weight_prior_sd
        if ".biases." in name:
            return 0.0, self.bias_prior_sd
        return (NOISE_PRIOR_MEAN if name == "raw_noise_SY" else 0.0), 1.0

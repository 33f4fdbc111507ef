"""ALPaCA (Harrison et al., arXiv:1807.08912): Bayesian linear regression on learned features, exact at every step.

The original objective: predict the rest of a task from a context of random length. Weights are whitened,
W = K0 + R V with prior columns V ~ N(0, Sigma_y I), so that the prior precision is L0 = (R R^T)^-1 and the matrix to
factorise, I + R^T Phi^T Phi R, has no eigenvalue below one.

Letters: B tasks, N support points, M points of a task, Q query points, X input width, F feature width, Y target width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one
from modules.contracts import FewShotLearner, FewShotTasks, GaussianMixture, JointGaussians

from .kernels import inverse_softplus
from .networks import MultilayerPerceptron


class Alpaca(FewShotLearner):
    """Last layer inferred for each task, features and prior shared by all.

    Training takes the first points of a task as its context, so tasks must bring their points in random order.

    Args:
        input_dim: X.
        output_dim: Y.
        network: Builds the network of the features from input and output widths, a tanh following; None: 128-128 tanh.
        feature_dim: F.
        noise: Variance of the noise at the start, in scaled units; learned here, given in the paper.
        noise_floor: The least variance of the noise, in scaled units.

    Raises:
        ValueError: `feature_dim` is below 1, or `noise` is not above its floor.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        network: Callable[[int, int], nn.Module] | None = None,
        feature_dim: int = 32,
        noise: float = 0.03,
        noise_floor: float = 1e-4,
    ) -> None:
        super().__init__(input_dim, output_dim)
        check_at_least_one(feature_dim=feature_dim)
        if not 0 < noise_floor < noise:
            raise ValueError(f"noise_floor={noise_floor} must lie between 0 and noise={noise}")
        build = network or partial(MultilayerPerceptron, hidden_dims=(128, 128), activation=nn.Tanh)
        self.noise_floor = noise_floor
        self.features = nn.Sequential(build(input_dim, feature_dim), nn.Tanh())
        self.prior_mean_FY = nn.Parameter(torch.zeros(feature_dim, output_dim))
        self.lower_FF = nn.Parameter(torch.zeros(feature_dim, feature_dim))
        self.raw_diagonal_F = nn.Parameter(torch.full((feature_dim,), inverse_softplus(1.0)))
        self.raw_noise_Y = nn.Parameter(torch.full((output_dim,), inverse_softplus(noise - noise_floor)))

    @property
    def root_FF(self) -> Tensor:
        """R, lower triangular, with L0^-1 = R R^T."""
        return self.lower_FF.tril(-1) + torch.diag_embed(F.softplus(self.raw_diagonal_F))

    @property
    def noise_Y(self) -> Tensor:
        """Variance of the observation noise Sigma_y, which also scales the prior of the weights, [Y]."""
        return F.softplus(self.raw_noise_Y) + self.noise_floor

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        """NLL of each point outside a context whose length is uniform on 0 .. points - 1 (section 3.3 of the paper).

        The context is the first points of a task, support before queries.
        """
        x_BMX, y_BMY, mask_BM = tasks.points()
        num_points_B = mask_BM.sum(dim=1)
        uniform_B = torch.rand(num_points_B.shape, generator=generator, device=x_BMX.device)
        length_B = (uniform_B * num_points_B).floor()
        context_BM = mask_BM & (mask_BM.cumsum(dim=1) <= length_B[:, None])
        rest_BM = mask_BM & ~context_BM
        log_prob_BM = self.predict(x_BMX, y_BMY, context_BM, x_BMX).log_prob(y_BMY).value
        total_B = torch.where(rest_BM, log_prob_BM, 0.0).sum(dim=1)
        return -(total_B / rest_BM.sum(dim=1).clamp(min=1)).mean()

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
        """N(Kn^T phi, (1 + phi^T Ln^-1 phi) Sigma_y) at each query (Eqs. 6 and 7 of the paper)."""
        features_BNF = torch.where(support_mask[..., None], self.features(support_x), 0.0)
        residual_BNY = torch.where(support_mask[..., None], support_y - features_BNF @ self.prior_mean_FY, 0.0)
        whitened_BNF = features_BNF @ self.root_FF
        eye_FF = torch.eye(self.root_FF.shape[0], dtype=whitened_BNF.dtype, device=whitened_BNF.device)
        factor_BFF = torch.linalg.cholesky(eye_FF + whitened_BNF.mT @ whitened_BNF)
        query_BQF = self.features(query_x)
        both = torch.cat([(query_BQF @ self.root_FF).mT, whitened_BNF.mT @ residual_BNY], dim=-1)
        solved = torch.linalg.solve_triangular(factor_BFF, both, upper=False)
        gain_BFQ, target_BFY = solved.split([query_x.shape[1], self.output_dim], dim=-1)
        means_SBQY = (query_BQF @ self.prior_mean_FY + gain_BFQ.mT @ target_BFY)[None]
        variance_BQ = 1 + gain_BFQ.square().sum(dim=1)

        def joint() -> JointGaussians:
            covariance_BQQ = gain_BFQ.mT @ gain_BFQ + torch.eye(query_x.shape[1]).to(gain_BFQ)  # the noise
            return JointGaussians(means_SBQY, (self.noise_Y[:, None, None] * covariance_BQQ[:, None])[None])

        return GaussianMixture(means_SBQY, (variance_BQ[..., None] * self.noise_Y)[None], joint=joint)

"""VMGP written plainly in float64: one JM x JM covariance a task, `torch.distributions`, one task at a time.

Vectors of latents are ordered by point, then by latent: z_11, z_12, .., z_1J, z_21, ..

Letters: B tasks, M points, J latents.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from modules.contracts import FewShotTasks
from modules.meta import MultilayerPerceptron
from modules.meta.coregionalization import Coregionalization
from modules.meta.gaussian_process import JITTER


def random_tasks(
    num_tasks: int = 3,
    *,
    num_support: int = 4,
    num_queries: int = 3,
    input_dim: int = 1,
    output_dim: int = 1,
    seed: int = 0,
    ragged: bool = False,
    dtype: torch.dtype = torch.float64,
) -> FewShotTasks:
    """Standard normal inputs and targets; `ragged`: task b lacks its last b mod (points) points."""
    generator = torch.Generator().manual_seed(seed)

    def side(num_points: int) -> tuple[Tensor, Tensor, Tensor]:
        widths = (input_dim, output_dim)
        x, y = (torch.randn(num_tasks, num_points, width, generator=generator).to(dtype) for width in widths)
        lacking = torch.arange(num_tasks) % max(num_points, 1) if ragged else torch.zeros(num_tasks)
        return x, y, torch.arange(num_points) < num_points - lacking[:, None]

    support, query = side(num_support), side(num_queries)
    return FewShotTasks(*support, *query, int(support[2].sum() + query[2].sum()))


def covariance(kernel_MM: Tensor, latents: Coregionalization) -> Tensor:
    """R (x) B + I (x) D, [MJ, MJ], with the jitter of `modules.meta.gaussian_process` in R."""
    loadings_JK, eye = latents.loadings_JK, torch.eye(len(kernel_MM), dtype=kernel_MM.dtype)
    smooth_JJ = loadings_JK @ loadings_JK.T + torch.diag(latents.v_J)
    return torch.kron(kernel_MM + JITTER * eye, smooth_JJ) + torch.kron(eye, torch.diag(latents.noise_J))


def normal(mean_MJ: Tensor, covariance: Tensor) -> MultivariateNormal:
    return MultivariateNormal(mean_MJ.reshape(-1), covariance)


def gaussian(mean: Tensor, covariance: Tensor, gain: Tensor, noise: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior mean and covariance of z ~ N(mean, covariance) given y = gain z + N(0, noise), and log p(y)."""
    total = gain @ covariance @ gain.T + noise
    log_evidence = MultivariateNormal(gain @ mean, total).log_prob(y)
    pull = torch.linalg.solve(total, gain @ covariance).T
    return mean + pull @ (y - gain @ mean), covariance - pull @ gain @ covariance, log_evidence


def perceptron(input_dim: int, output_dim: int) -> MultilayerPerceptron:
    """A network small and smooth enough for finite differences."""
    return MultilayerPerceptron(input_dim, output_dim, hidden_dims=(4,), activation=torch.nn.Tanh)

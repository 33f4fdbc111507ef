"""VMGP written plainly in float64: one JM x JM covariance a task, `torch.distributions`, one task at a time.

Vectors of latents are ordered by point, then by latent: z_11, z_12, .., z_1J, z_21, ..

Letters: B tasks, M points, J latents.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from modules.contracts import FewShotTasks
from modules.meta import MultilayerPerceptron, Vmgp
from modules.meta import gaussian_process as algebra
from modules.meta.coregionalization import Coregionalization
from modules.meta.latent_posterior import LabelledPoints
from modules.meta.posterior_free import FreePosterior
from modules.meta.posterior_sites import GaussianSites

KINDS = [("sites", "independent"), ("free", "independent"), ("free", "kronecker")]


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
    return torch.kron(kernel_MM + algebra.JITTER * eye, smooth_JJ) + torch.kron(eye, torch.diag(latents.noise_J))


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


def model(posterior: str, covariance: str, **options: object) -> Vmgp:
    """A small learner in which no symmetry hides a fault."""
    torch.manual_seed(0)
    options = {"latent_dim": 3, "input_dim": 2, "output_dim": 2, **options}
    learner = Vmgp(posterior=posterior, covariance=covariance, **options).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith(("prior.latents", "posterior.latents", "prior.mean")):
                parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return learner


def ragged_points() -> LabelledPoints:
    return LabelledPoints(
        *random_tasks(4, num_support=5, num_queries=3, input_dim=2, output_dim=2, ragged=True).points()
    )


def dense(learner: Vmgp, points: LabelledPoints, task: int) -> tuple[MultivariateNormal, MultivariateNormal]:
    """q and p of the latents at the real points of a task."""
    keep = points.mask[task]
    x, y = points.x[task, keep], points.y[task, keep]
    p = normal(learner.prior.mean(x), covariance(learner.prior.kernel(x, x), learner.prior.latents))
    if isinstance(learner.posterior, FreePosterior):
        mean, kernel = learner.posterior.moments(LabelledPoints(x[None], y[None], keep[keep][None]))
        return normal(mean[0], covariance(kernel[0], learner.posterior.latents)), p
    assert isinstance(learner.posterior, GaussianSites)
    labels, variances = (
        v[0].T.reshape(-1) for v in learner.posterior.sites(LabelledPoints(x[None], y[None], keep[None]))
    )
    precision = p.precision_matrix + torch.diag(1 / variances)
    mean = torch.linalg.solve(precision, p.precision_matrix @ p.mean + labels / variances)
    return MultivariateNormal(mean, precision_matrix=precision), p


def two_step(q: MultivariateNormal, p: MultivariateNormal, support_K: Tensor, query_K: Tensor) -> MultivariateNormal:
    """int p(z* | z) q(z) dz, with p over support and queries together and q over the support alone."""
    cross = p.covariance_matrix[query_K][:, support_K]
    gain = torch.linalg.solve(p.covariance_matrix[support_K][:, support_K], cross.T).T
    mean = p.mean[query_K] + gain @ (q.mean - p.mean[support_K])
    spread = p.covariance_matrix[query_K][:, query_K] - gain @ cross.T + gain @ q.covariance_matrix @ gain.T
    return MultivariateNormal(mean, (spread + spread.T) / 2)

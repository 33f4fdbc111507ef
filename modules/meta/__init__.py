"""Few-shot learners, each a file that keeps `modules.contracts.FewShotLearner`, and the parts they are made of.

    learner           parts of its own
    vmgp              latent_prior, coregionalization, symmetric_matrices, vmgp_objectives, and latent_posterior with
                      its two kinds, posterior_sites and posterior_free
    deep_kernel_gp    spectral_mixture
    output_flow_gp    deep_kernel_gp, monotone_spline, flow_predictive
    alpaca            none
    pacoh             gp_particles, stein, stacked_perceptrons
    maml              task_adaptation, stacked_perceptrons
    neural_process    heads, histogram

All share `kernels`, `networks` and the algebra of `gaussian_process`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

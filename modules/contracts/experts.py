"""What a routed feed-forward reports about one forward pass. The recipe turns it into losses and logs.

Letters: E experts.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class RouterStats:
    """Routing of one layer over the valid tokens of one forward pass (arXiv:2411.08968, section 2.3).

    Attributes:
        load_E: Share of all choices that fell on each expert, float[E], sums to 1, carries no gradient.
        probability_E: Mean router probability of each expert before the top-K choice, float[E], differentiable.
        log_partition: Mean squared log-sum-exp of the router logits, scalar, differentiable (the z-loss).
    """

    load_E: Tensor
    probability_E: Tensor
    log_partition: Tensor

"""What a recipe says of the cost of its model: the input of the meter and of the lifetime cost report."""

from dataclasses import dataclass
from typing import Literal

LawUse = Literal["applies", "indicative", "bracket", "none"]


@dataclass(frozen=True)
class CostProfile:
    """Size and arithmetic of a model, per unit of its work.

    Attributes:
        unit: What is counted: "token", "task point", "environment step".
        parameters_total: All parameters; tied weights once, embeddings included.
        parameters_active: Parameters that take part in the computation of one unit; input embedding tables left out, as
            a look-up costs no arithmetic, but a tied output projection counted.
        parameters_trainable: Parameters that receive gradients.
        train_flops: FLOPs per unit of forward and backward pass by the definition of the model (a multiplication and an
            addition count as two), whatever tricks save in practice.
        prefill_flops: FLOPs per unit of a forward pass over known input.
        decode_flops: FLOPs per generated unit; equals `prefill_flops` where nothing is generated.
        decode_weight_bytes: Bytes of weights read per generated unit at batch size one.
        law_use: What loss laws of language models say of this model: they apply (a dense causal LM), are indicative (a
            masked LM), bracket it (between active and total parameters of a mixture of experts), or say nothing.
        law_note: Why they do not simply apply, in one sentence.
    """

    unit: str
    parameters_total: int
    parameters_active: int
    parameters_trainable: int
    train_flops: float
    prefill_flops: float
    decode_flops: float
    decode_weight_bytes: float
    law_use: LawUse = "none"
    law_note: str = ""

"""Linear maps and embedding tables that initialise themselves as BERT does (arXiv:1810.04805, section A.2).

They draw in `reset_parameters`, the name under which torch and Lightning look for it after a model was built on the
meta device.
"""

from torch import nn

INIT_STD = 0.02


class Linear(nn.Linear):
    """`torch.nn.Linear` with weights from N(0, 0.02) and a bias of zero."""

    def reset_parameters(self) -> None:
        """Draw the weights, clear the bias."""
        nn.init.normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` with rows from N(0, 0.02) and a padding row, if any, of zero."""

    def reset_parameters(self) -> None:
        """Draw the rows, clear the padding row."""
        nn.init.normal_(self.weight, std=INIT_STD)
        self._fill_padding_idx_with_zero()

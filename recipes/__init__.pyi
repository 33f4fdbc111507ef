from .load import load as load
from .masked_lm import MaskedLM as MaskedLM
from .sharding import FullyShardedStrategy as FullyShardedStrategy

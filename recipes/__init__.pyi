from .load import load as load
from .masked_lm import MaskedLM as MaskedLM
from .meta_regression import MetaRegression as MetaRegression
from .sharding import FullyShardedStrategy as FullyShardedStrategy

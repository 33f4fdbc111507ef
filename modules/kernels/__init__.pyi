from .reference import ragged_attention as ragged_attention

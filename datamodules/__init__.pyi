from .masked_lm import MaskedLMData as MaskedLMData
from .streaming_masked_lm import StreamingMaskedLMData as StreamingMaskedLMData

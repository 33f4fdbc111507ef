from .masked_lm import MaskedLMData as MaskedLMData
from .streaming_masked_lm import StreamingMaskedLMData as StreamingMaskedLMData
from . import tasks as tasks

from . import tasks as tasks
from .few_shot import FewShotData as FewShotData
from .masked_lm import MaskedLMData as MaskedLMData
from .streaming_masked_lm import StreamingMaskedLMData as StreamingMaskedLMData

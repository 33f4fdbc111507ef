from .auto import AutoAttention as AutoAttention
from .base import Attention as Attention
from .base import Workload as Workload
from .flash import FlashVarlenAttention as FlashVarlenAttention
from .flex import FlexAttention as FlexAttention
from .plain import ReferenceAttention as ReferenceAttention
from .sdpa import SdpaAttention as SdpaAttention
from .triton_short import TritonShortAttention as TritonShortAttention

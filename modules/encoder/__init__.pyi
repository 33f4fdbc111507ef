from .bert import Bert as Bert
from .core import Encoder as Encoder
from .mosaicbert import MosaicBert as MosaicBert

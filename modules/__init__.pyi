from . import contracts as contracts
from . import encoder as encoder
from . import layers as layers

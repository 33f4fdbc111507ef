from . import checkpoints as checkpoints
from . import contracts as contracts
from . import encoder as encoder
from . import flops as flops
from . import kernels as kernels
from . import layers as layers
from . import optim as optim
from . import scaling as scaling

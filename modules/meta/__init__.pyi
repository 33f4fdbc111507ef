from .kernels import DeepKernel as DeepKernel
from .kernels import Kernel as Kernel
from .kernels import Rbf as Rbf
from .networks import MultilayerPerceptron as MultilayerPerceptron

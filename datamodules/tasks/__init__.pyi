from .base import Points as Points
from .base import SplitName as SplitName
from .base import TaskFamily as TaskFamily
from .base import TaskSource as TaskSource

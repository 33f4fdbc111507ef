from .cost import CostProfile as CostProfile
from .cost import LawUse as LawUse
from .experts import RouterStats as RouterStats
from .schedule import Schedule as Schedule
from .text import IGNORE as IGNORE
from .text import RaggedText as RaggedText
from .text import Vocabulary as Vocabulary

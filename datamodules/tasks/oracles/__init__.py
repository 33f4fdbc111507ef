"""Bayes-optimal predictives of the generative families: what no learner can beat, in units of the data.

Each knows its parameters, sees the support, and answers as a learner would. Exact where sums and integrals are; else
weighted draws, whose Monte-Carlo error the predictive tells.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""The types that pass between the slots of a recipe. Anything that keeps them can be swapped in."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

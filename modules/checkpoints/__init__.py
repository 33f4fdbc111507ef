"""Weights in the layouts of other libraries, in and out. The one room of `modules` that reads and writes files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""FLOPs of a model, by formula and counted, and the peak of the device they run on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

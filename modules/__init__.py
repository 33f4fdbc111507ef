"""What is trained: swappable parts, torch modules and plain mathematics; no Lightning, no data sets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

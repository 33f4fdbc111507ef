"""The attention slot: one backend a file, all of them exact, and one that chooses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

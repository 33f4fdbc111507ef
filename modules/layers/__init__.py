"""Parts of a transformer block, shared by encoder and decoder; each is a slot that a YAML can fill."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

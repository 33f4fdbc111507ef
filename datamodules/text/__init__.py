"""Text on its way to a model: corpora, tokenizers, the token store, and which document comes when."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Few-shot tasks that MuJoCo simulates: bodies with hidden properties, and one coordinate of them after contacts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

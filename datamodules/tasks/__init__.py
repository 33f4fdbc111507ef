"""Few-shot regression tasks: generative families with their oracles, a user's own table, simulated bodies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Inference-aware scaling laws (arXiv:2401.00448): how large a model, on how much data, for how much use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

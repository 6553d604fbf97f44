"""fusionlit: train, compare and explain multimodal fusion with PyTorch Lightning.

The names in `__init__.pyi` are imported on first use: importing torch takes seconds, and the help needs none of it.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

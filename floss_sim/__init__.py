"""floss-sim: the bytes, the seconds and the accuracy of federated LoRA fine-tuning.

The public names stand in ``__init__.pyi`` and are imported at their first use. Only :func:`train`
and :func:`open_learner` load a training framework.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, _lazy = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("floss-sim")
__all__ = sorted([*_lazy, "__version__"])

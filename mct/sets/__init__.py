"""Distilled images of any codebase: one module a layout, one table of them.

`open_set` recognises and reads, `settle` adds what the files do not say, `convert_images` writes.
"""

from mct.sets.base import DistilledSet, Layout
from mct.sets.convert import convert_images
from mct.sets.settle import Settled, Told, settle
from mct.sets.table import LAYOUTS, Opened, open_set

__all__ = [
    "LAYOUTS", "DistilledSet", "Layout", "Opened", "Settled", "Told", "convert_images", "open_set", "settle",
]  # fmt: skip

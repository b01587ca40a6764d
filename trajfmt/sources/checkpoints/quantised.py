"""Weights that are packed into whole numbers: GPTQ, AWQ, bitsandbytes and their relatives.

Such numbers look like module buffers, since they are whole. Without them, only the scales would be converted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.torchfile.stored import Stored

__all__ = ["refuse_quantised"]

_FORMS: Final = (
    (re.compile(r"(?:.*\.)?(?:qweight|qzeros)"), "GPTQ or AWQ"),
    (re.compile(r".*\.(?:SCB|weight\.absmax|(?:nested_)?quant_map|quant_state\..+)"), "bitsandbytes"),
    (re.compile(r"(?:.*\.)?(?:weight_packed|packed_weight)"), "compressed-tensors"),
    (re.compile(r"(?:.*\.)?W_q"), "HQQ"),
    (re.compile(r"(?:.*\.)?weight\._data(?:\._data)?"), "Quanto"),
)
"""The names of packed weights, or of what only packed weights have, and who writes them."""

_SMALL: Final = frozenset({"U8", "I8", "U16", "I16", "U32", "I32"})
_PACKED: Final = _SMALL | {"I64"}

_SCALES: Final = re.compile(r".*(?:scale|zero|absmax|codebook|quant).*", re.I)
"""Names of what turns whole numbers into weights."""


def refuse_quantised(tensors: Mapping[str, Stored], path: Path) -> None:
    """Refuse weights that are packed into whole numbers.

    Args:
        tensors: the tensors of a checkpoint, by name.
        path: the file or the index of the checkpoint.

    Raises:
        SourceError: there are some. The message names one of them, and who writes such weights if known.
    """
    for name, tensor in tensors.items():
        for pattern, who in _FORMS:
            if not pattern.fullmatch(name) or (who != "bitsandbytes" and tensor.dtype not in _PACKED):
                continue
            raise SourceError(
                "nothing_to_convert",
                f"holds weights that are quantised as {who} writes them, such as `{display(name)}`; convert"
                " the checkpoints of the training, before quantisation",
                path=path,
            )
    scaled = {name.rpartition(".")[0] for name in tensors if _SCALES.fullmatch(name.rpartition(".")[2])}
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        packed = tensor.dtype in _SMALL and len(tensor.shape) > 1 and not _SCALES.fullmatch(last)
        if packed and module in scaled:
            raise SourceError(
                "nothing_to_convert",
                f"`{display(name)}` consists of whole numbers with scales beside it, as quantised weights do;"
                " convert the checkpoints of the training, before quantisation",
                path=path,
            )

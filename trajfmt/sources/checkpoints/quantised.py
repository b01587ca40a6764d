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

_PACKED: Final = frozenset({"U8", "I8", "U16", "I16", "U32", "I32", "I64"})


def refuse_quantised(tensors: Mapping[str, Stored], path: Path) -> None:
    """Refuse weights that are packed into whole numbers.

    Args:
        tensors: the tensors of a checkpoint, by name.
        path: the file or the index of the checkpoint.

    Raises:
        SourceError: there are some. The message names one of them, and who writes such weights.
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

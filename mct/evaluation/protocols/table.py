"""All evaluation protocols by name."""

from collections.abc import Mapping
from typing import Final

from mct.evaluation.protocols.mtt import Mtt
from mct.evaluation.protocols.protocol import Protocol
from mct.evaluation.protocols.rat import Rat
from mct.evaluation.protocols.selmatch import SelMatch
from mct.evaluation.protocols.sequence import Sequenced
from mct.settings import config

PROTOCOLS: Final[Mapping[config.Protocol, Protocol]] = {
    "mtt": Mtt(),
    "sequence": Sequenced(),
    "rat": Rat(),
    "selmatch": SelMatch(),
}
"""Each protocol by the name that `EvaluateConfig.protocol` and results have."""

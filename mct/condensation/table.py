"""Every method by its name in `mct.settings.condensation.USED`."""

from collections.abc import Mapping
from typing import Final

from mct.condensation.embeddings import EmbeddingMatching
from mct.condensation.features import FeatureAlignment
from mct.condensation.gradients import GradientMatching
from mct.condensation.method import Method

TABLE: Final[Mapping[str, Method]] = {
    "dc": GradientMatching(),
    "dsa": GradientMatching(),
    "dm": EmbeddingMatching(),
    "cafe": FeatureAlignment(),
}
"""Method by name."""

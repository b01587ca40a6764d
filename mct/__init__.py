"""Dataset distillation by matching convexified training trajectories.

`ExpertRun` trains experts and writes their trajectories to a bundle. `DistillRun` distils synthetic images
from a bundle; `Distiller` does one outer step of it, and `distill` is the outer loop. `Comparison` compares
networks trained on synthetic images with networks trained on real ones. The package `trajfmt` reads and
writes bundles.
"""

from mct.data.datasets import Dataset
from mct.distillation.distiller import Distiller
from mct.distillation.folder import RunFolder
from mct.distillation.loop import distill
from mct.distillation.run import DistillRun
from mct.errors import (
    ConfigError,
    CorruptError,
    DataError,
    DivergedError,
    ExhaustedError,
    ExistsError,
    MctError,
    MismatchError,
    MissingError,
    RankError,
    ResultError,
)
from mct.evaluation.comparison import Comparison
from mct.events import (
    Accuracy,
    ArchitectureTested,
    Evaluated,
    ExpertContinued,
    ExpertDone,
    ExpertEpoch,
    ExpertsFound,
    NetworkTrained,
    Note,
    OuterStep,
)
from mct.experts.run import ExpertRun
from mct.experts.train import train_experts
from mct.inner.problem import Problem
from mct.inner.unroll import Gradients, Unroll
from mct.results.synthetic import SyntheticDataset
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.settings.expert import ExpertConfig

__all__ = [
    "Accuracy",
    "ArchitectureTested",
    "Comparison",
    "ConfigError",
    "CorruptError",
    "DataError",
    "Dataset",
    "DistillConfig",
    "DistillRun",
    "Distiller",
    "DivergedError",
    "EvaluateConfig",
    "Evaluated",
    "ExhaustedError",
    "ExistsError",
    "ExpertConfig",
    "ExpertContinued",
    "ExpertDone",
    "ExpertEpoch",
    "ExpertRun",
    "ExpertsFound",
    "Gradients",
    "MctError",
    "MismatchError",
    "MissingError",
    "NetworkTrained",
    "Note",
    "OuterStep",
    "Problem",
    "RankError",
    "ResultError",
    "RunFolder",
    "SyntheticDataset",
    "Unroll",
    "distill",
    "train_experts",
]


def __dir__() -> list[str]:
    return __all__

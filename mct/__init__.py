"""Dataset distillation by matching convexified training trajectories.

Train experts with `ExpertRun`, distil a bundle of their trajectories with `Distiller` and `distill`,
compare the result with real images through `Comparison`. Bundles are read and written by `trajfmt`.
"""

from mct.comparison import Comparison
from mct.config import DistillConfig, EvaluateConfig, ExpertConfig
from mct.data import Dataset
from mct.distill import Distiller, distill
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
from mct.events import (
    Accuracy,
    ArchitectureTested,
    Evaluated,
    ExpertDone,
    ExpertEpoch,
    ExpertsFound,
    NetworkTrained,
    Note,
    OuterStep,
)
from mct.expert_run import ExpertRun
from mct.experts import train_experts
from mct.folder import RunFolder
from mct.problem import Problem
from mct.synthetic import SyntheticDataset
from mct.unroll import Gradients, Unroll

__all__ = [
    "Accuracy",
    "ArchitectureTested",
    "Comparison",
    "ConfigError",
    "CorruptError",
    "DataError",
    "Dataset",
    "DistillConfig",
    "Distiller",
    "DivergedError",
    "EvaluateConfig",
    "Evaluated",
    "ExhaustedError",
    "ExistsError",
    "ExpertConfig",
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

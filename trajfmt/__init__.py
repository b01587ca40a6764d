"""Read and write training trajectories of neural networks, in full or convexified as in MCT (CVPR 2025).

`open` reads a bundle; `create` and `append` write one. Importing this package does not import torch. The
modules that need torch are `trajfmt.torch` and `trajfmt.export`.

Example:
    >>> import trajfmt
    >>> with trajfmt.open("two.mct") as bundle:
    ...     theta = bundle[0].at(12.5)
    >>> theta.shape == (bundle.layout.size,)
    True
"""

from trajfmt import platform as platform
from trajfmt.bundle.create import append, create
from trajfmt.bundle.reader import Bundle, Trajectory, open
from trajfmt.bundle.writer import BundleWriter
from trajfmt.errors import (
    CorruptError,
    ExistsError,
    FormatError,
    MissingDependencyError,
    MissingError,
    NotABundleError,
    Problem,
    RemoteError,
    SourceError,
    TimestepError,
    TrajfmtError,
    UnsafeError,
    UsageError,
)
from trajfmt.schema.layout import Layer, Parameter, ParamLayout
from trajfmt.schema.provenance import Model, Preprocessing, Provenance, TimestepUnit
from trajfmt.trajectory.source import ArrayTrajectory, Source
from trajfmt.version import __version__

__all__ = [
    "ArrayTrajectory",
    "Bundle",
    "BundleWriter",
    "CorruptError",
    "ExistsError",
    "FormatError",
    "Layer",
    "MissingDependencyError",
    "MissingError",
    "Model",
    "NotABundleError",
    "ParamLayout",
    "Parameter",
    "Preprocessing",
    "Problem",
    "Provenance",
    "RemoteError",
    "Source",
    "SourceError",
    "TimestepError",
    "TimestepUnit",
    "Trajectory",
    "TrajfmtError",
    "UnsafeError",
    "UsageError",
    "__version__",
    "append",
    "create",
    "open",
]


def __dir__() -> list[str]:
    return __all__

"""Read and write training trajectories of neural networks, in full or convexified as in MCT (CVPR 2025).

`open` reads a bundle; `create` and `append` write one. Importing this package takes a few
milliseconds, because each name is loaded when it is first used. The modules that need torch are
`trajfmt.torch` and `trajfmt.export`.

Example:
    >>> import trajfmt
    >>> with trajfmt.open("two.mct") as bundle:
    ...     theta = bundle[0].at(12.5)
    >>> theta.shape == (bundle.layout.size,)
    True
"""

from typing import TYPE_CHECKING

from trajfmt import platform as platform
from trajfmt.lazy import names_of
from trajfmt.version import __version__

if TYPE_CHECKING:
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
else:
    __getattr__ = names_of(
        __name__,
        {
            "append": "bundle.create",
            "create": "bundle.create",
            "Bundle": "bundle.reader",
            "Trajectory": "bundle.reader",
            "open": "bundle.reader",
            "BundleWriter": "bundle.writer",
            "CorruptError": "errors",
            "ExistsError": "errors",
            "FormatError": "errors",
            "MissingDependencyError": "errors",
            "MissingError": "errors",
            "NotABundleError": "errors",
            "Problem": "errors",
            "RemoteError": "errors",
            "SourceError": "errors",
            "TimestepError": "errors",
            "TrajfmtError": "errors",
            "UnsafeError": "errors",
            "UsageError": "errors",
            "Layer": "schema.layout",
            "ParamLayout": "schema.layout",
            "Parameter": "schema.layout",
            "Model": "schema.provenance",
            "Preprocessing": "schema.provenance",
            "Provenance": "schema.provenance",
            "TimestepUnit": "schema.provenance",
            "ArrayTrajectory": "trajectory.source",
            "Source": "trajectory.source",
        },
    )

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

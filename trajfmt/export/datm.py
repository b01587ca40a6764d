"""Replay buffers for DATM, PAD and EDF: MTT's files, in the numbers that their code requires.

Their code reads labels from file `cur // 10 % 10` at index `cur % 10`, and draws indices for all files from
the length of the first. It therefore needs ten or more files, all with ten trajectories of the same length.
"""

from __future__ import annotations

from collections.abc import Sequence

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display
from trajfmt.export import mtt
from trajfmt.export.base import Target

__all__ = ["TARGET", "check"]

_PER_FILE, _FILES = 10, 10


def check(bundle: Bundle, per_file: int) -> Sequence[str]:
    """Require a multiple of 10 trajectories, at least 100, of the same length, ten in each file.

    Raises:
        UsageError: DATM's code would fail with an IndexError.
    """
    if per_file != _PER_FILE:
        raise UsageError(f"DATM's code requires {_PER_FILE} trajectories in each file, got {per_file}")
    count = len(bundle)
    wanted = max(_FILES * _PER_FILE, -(-count // _PER_FILE) * _PER_FILE)
    if count != wanted:
        raise UsageError(
            f"{display(bundle.place)}: DATM's code needs {_FILES} full files of {_PER_FILE} trajectories or"
            f" more; there are {count}, {wanted - count} are missing for {wanted}. Convert more, or give --to"
            " mtt for other code"
        )
    lengths = [entry.timesteps for entry in bundle.manifest.trajectories]
    if len(set(lengths)) > 1:
        odd = next(index for index, length in enumerate(lengths) if length != lengths[0])
        raise UsageError(
            f"{display(bundle.place)}: DATM's code needs trajectories of one length; trajectory 0 has"
            f" {lengths[0]} timesteps, trajectory {odd} has {lengths[odd]}. Cut them with traj convert"
            f" --timesteps 0:{min(lengths)}"
        )
    return mtt.check(bundle, per_file)


TARGET = Target(
    name="datm",
    title="the same for DATM, PAD and EDF: ten trajectories in each of ten files or more, of one length",
    check=check,
    write=mtt.write,
    stubs=mtt.stubs,
)

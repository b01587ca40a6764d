"""DATM, PAD and EDF: MTT's files in the numbers that their code takes for granted.

They look labels up in file `cur // 10 % 10` at `cur % 10`, and draw indices of the first file's length for
every file: ten files of ten trajectories or more, all full, all of one length.
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
    """Require a multiple of 10 trajectories, 100 or more, of equal length, ten a file.

    Raises:
        UsageError: DATM's code would end with an IndexError.
    """
    if per_file != _PER_FILE:
        raise UsageError(f"DATM's code takes {_PER_FILE} trajectories a file for granted, got {per_file}")
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

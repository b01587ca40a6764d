"""The first trajectories of a bundle: an experiment with fewer experts than the bundle has."""

from mct.errors import ConfigError
from mct.trajectories.stream import Bundle, Trajectory
from trajfmt import ParamLayout
from trajfmt.errors import counted


class FirstTrajectories:
    """The first trajectories of a bundle, in its order; nothing is read or copied.

    Args:
        bundle: The bundle, which must stay open.
        count: Number of trajectories.

    Raises:
        ConfigError: The bundle has fewer.
    """

    def __init__(self, bundle: Bundle, count: int) -> None:
        if count > len(bundle):
            raise ConfigError(
                f"`trajectories` is {count}, but the experts have only {counted(len(bundle), 'trajectory')}; "
                "use a smaller number, or leave it out to use all"
            )
        self._bundle, self._count = bundle, count
        self.encoding: str = bundle.encoding
        self.layout: ParamLayout = bundle.layout

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Trajectory:
        if not 0 <= index < self._count:
            raise IndexError(f"trajectory must lie in [0, {self._count - 1}], got {index}")
        return self._bundle[index]


def first(bundle: Bundle, count: int | None) -> Bundle:
    """Return the first `count` trajectories of a bundle; the bundle itself if `count` is None.

    Raises:
        ConfigError: The bundle has fewer.
    """
    return bundle if count is None else FirstTrajectories(bundle, count)

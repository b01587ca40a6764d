"""The timestep of the expert whose outputs are the labels, if the setting `labels` is `teacher`."""

from collections.abc import Callable

from mct.errors import ConfigError
from mct.objectives.objective import Place
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream


def of(config: DistillConfig, stream: KnotStream | None) -> Callable[[Place], float] | None:
    """Return a function from the place of a sample to the time of its teacher; None: the target.

    Args:
        config: The settings of a run; its `max_start` is known.
        stream: The trajectories; None if there are none, and no labels of teachers either.

    Raises:
        ConfigError: A trajectory of a full bundle has no weights at `max_start`.
    """
    if stream is None or config.labels != "teacher" or config.label_time == "target":
        return None
    if config.label_time == "last":
        return lambda place: float(stream.last_time(place.on_trajectory[0]))
    time = stream.max_start
    if time != int(time) and not stream.between:
        raise ConfigError(
            f"`label_time` max-start needs weights at timestep {time:g}, but a full bundle has them at whole "
            "timesteps alone; use a whole `max_start`, or another `label_time`"
        )
    return lambda _: time

"""The earlier stages of a run: reads their result, and checks that a resumed run is given the same one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mct.errors import ConfigError, MismatchError
from mct.results import files
from mct.results.origin import Origin
from mct.results.stages import Earlier
from mct.settings import presets


def remark(recipe: Mapping[str, Any] | None, earlier: Earlier | None) -> str | None:
    """Return a line for the user if the experts start from other distilled images than a run begins with.

    Args:
        recipe: What the bundle records about the training of the experts.
        earlier: The result of earlier stages; None if there are none.
    """
    start = (recipe or {}).get("start_from_sha256")
    if start is None or (earlier is not None and start == earlier.sha256):
        return None
    if earlier is None:
        return (
            "the experts start from networks that were trained on distilled images, but the run has no "
            "earlier stage; give these images: --after"
        )
    return f"the experts start from networks that were trained on other distilled images than {earlier.path}"


def require_stage(preset: str | None, stage: int) -> None:
    """Require that a preset of a stage is used for that stage.

    Raises:
        ConfigError: It is of another.
    """
    wanted = None if preset is None else presets.preset(preset).stage
    if wanted not in (None, stage):
        hint = f"give the result of stage {wanted - 1}: --after" if wanted > 1 else "omit --after"
        raise ConfigError(f"`preset` {preset} is of stage {wanted}, but this is stage {stage}; {hint}")


def earlier_of(after: Path | None, before: Origin | None, *, given: Mapping[str, Any]) -> Earlier | None:
    """Read the result of earlier stages; None if there are none.

    Args:
        after: The result, as the user gave it; None if none was given.
        before: The origin of the run that is resumed, or None.
        given: The settings that the user gave.

    Raises:
        ConfigError: The run that is resumed has earlier stages, but none were given; or a setting has no
            effect.
        MismatchError: They are others than when the run began.
        MctError: The result cannot be read.
    """
    if after is None:
        if before is not None and before.stages:
            raise ConfigError(
                "the run adds images to those of an earlier stage; give its result again: --after"
            )
        if given.get("earlier_images") is not None:
            raise ConfigError(
                "`earlier_images` has no effect without the result of an earlier stage: --after"
            )
        return None
    found = files.earlier(after)
    if before is not None and before.stages != found.stages:
        raise MismatchError(
            f"{found.path}: is not the result of the earlier stage with which the run began; give that one: "
            "--after, or use another --out without --resume"
        )
    return found

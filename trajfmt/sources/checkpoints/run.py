"""The checkpoints of one training run as a trajectory.

All checkpoints must have the same parameters. They are opened in place, and weights are read later.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError, display
from trajfmt.schema.layout import DTYPES, Dtype
from trajfmt.sources.base.collection import FilePart, OpenOptions
from trajfmt.sources.base.trajectories import ForeignTrajectory, Plain, Shapes
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.checkpoints.kind import Kind, Run, hint_of
from trajfmt.sources.checkpoints.mixture import Settings, older_files, other_settings
from trajfmt.sources.checkpoints.names import inner_stated, pattern_of
from trajfmt.sources.checkpoints.numbering import Numbered
from trajfmt.sources.checkpoints.progress import Counts, contradiction, other_numbers
from trajfmt.sources.checkpoints.schema import Rules, Schema
from trajfmt.sources.checkpoints.sharded import INDEX
from trajfmt.sources.checkpoints.unwritten import require_written
from trajfmt.sources.torchfile.stored import State, Stored
from trajfmt.storage.inputs import Row
from trajfmt.storage.safetensors import NUMPY

__all__ = ["RunPart", "RunTrajectory"]

_SHOWN: Final = 4


class RunTrajectory(Plain):
    """The checkpoints of one training run, in the order of their numbers, as a `Source`."""

    def __init__(
        self, run: Run, kind: Kind, schema: Schema | None, rules: Rules, options: OpenOptions
    ) -> None:
        self._run, self._kind, self._schema = run, kind, schema
        self._rules, self._options = rules, options
        self._states: list[Mapping[str, Stored]] = []
        self._names: list[str] = []

    @property
    def timesteps(self) -> int:
        """The number of checkpoints, T + 1."""
        return len(self._run.checkpoints)

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The steps or epochs of the checkpoints."""
        numbered = self._run.numbered
        return numbered.numbers if isinstance(numbered, Numbered) else None

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters."""
        return tuple(self._states[0][name].shape for name in self._names)

    @property
    def dtype(self) -> Dtype:
        """The common dtype of the parameters.

        Raises:
            SourceError: the parameters have different dtypes, or one that the format does not have.
        """
        found: dict[str, str] = {}
        for path, state in zip(self._run.checkpoints, self._states, strict=True):
            for name in self._names:
                found.setdefault(state[name].dtype, f"`{display(name)}` of {display(path.name)}")
        if len(found) == 1 and next(iter(found)) in DTYPES:
            return cast(Dtype, next(iter(found)))
        some = "; ".join(f"{dtype}: {where}" for dtype, where in sorted(found.items()))
        raise SourceError(
            "mixed_dtypes",
            f"all weights must share one of {', '.join(DTYPES)}, got {some}; --dtype converts them to one",
            path=self._run.folder,
        )

    def read(self, t: int, parameter: int) -> Row | NDArray[np.generic]:
        """Return one parameter of checkpoint `t`, flattened. If it is contiguous, slicing reads it."""
        return self._states[t][self._names[parameter]].read()

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of checkpoint `t`, by name."""
        if self._rules.mode == "drop":
            return {}
        state, others = self._states[t], {*self._names, *self._rules.tied}
        return {
            name: np.asarray(tensor.read()).reshape(tensor.shape)
            for name, tensor in state.items()
            if name not in others
        }

    def file_of(self, t: int) -> Path:
        """Return checkpoint `t`."""
        return self._run.checkpoints[t]

    def check(self) -> None:
        """Open every checkpoint, and require that all belong to one network.

        Raises:
            SourceError: a checkpoint has no number, two have the same number, there are fewer than two
                checkpoints, they belong to different networks, or they store numbers of another order.
            FormatError: a checkpoint is damaged, or unsafe to read.
        """
        if isinstance(self._run.numbered, SourceError):
            raise self._run.numbered
        paths = self._run.checkpoints
        if len(paths) < 2:
            names = ", ".join(display(path.relative_to(self._run.folder)) for path in paths)
            raise SourceError(
                "too_few_timesteps",
                f"a trajectory needs two checkpoints or more, found {len(paths)} in this folder:"
                f" {names}{hint_of(paths)}",
                path=self._run.folder,
            )
        self._check_same(paths)
        schema, self._states = self._schema, []
        key: str | None = None
        counts: list[Counts] = []
        settings: list[Settings] = []
        for path in paths:
            state = self._kind.open(path, self._options)
            key = state.key if key is None else key
            if state.key != key:
                raise SourceError(
                    "mixed_architectures",
                    f"the weights are {_under(state.key)} here, and {_under(key)} in"
                    f" {display(paths[0].name)}; choose one with --key",
                    path=path,
                )
            own = Schema.of(state, path, self._rules)
            if not own.parameters:
                raise SourceError("nothing_to_convert", "holds no weights", path=path)
            self._check_types(state, own, path)
            schema = schema or own
            schema.check(own)
            if self._states and self._rules.mode != "drop":
                _check_buffers(self._states[0], state, own.buffers, path, paths[0])
            state.release()
            counts.append(state.counts)
            settings.append(state.settings)
            self._states.append(state.tensors)
        self._check_numbers(self._run.numbered.numbers)
        found = contradiction([path.name for path in paths], counts, self._run.numbered.unit)
        if found is not None and self._options.select is None:
            raise SourceError(
                "nothing_to_convert",
                f"{found}: the names contradict what the checkpoints store; rename them, or choose with"
                f" --select '{display(pattern_of(paths[0].name))}', which goes by the names",
                path=self._run.folder,
            )
        files = [self._kind.files(path) for path in paths]
        self.remarks = require_written(self._states, files, paths)
        shown = [path.relative_to(self._run.folder.parent).as_posix() for path in paths]
        times = [each[0].stat().st_mtime for each in files]
        signs = (
            other_numbers(shown, self._run.numbered.numbers, counts, self._run.numbered.unit),
            other_settings(shown, settings),
            older_files(shown, times),
        )
        self.remarks += tuple(filter(None, signs))
        assert schema is not None
        self._names = list(schema.parameters)

    def _check_same(self, paths: Sequence[Path]) -> None:
        """Require the same set of weights in all checkpoints, and a file of its own for each of them."""
        role = self._kind.role(paths[0])
        files: dict[tuple[int, int], Path] = {}
        for path in paths:
            if (other := self._kind.role(path)) != role:
                one, two = (
                    self._kind.files(each)[0].relative_to(self._run.folder) for each in (paths[0], path)
                )
                pattern = inner_stated(one, two)
                same = "if these are the same weights of another step, say so:"
                choice = "move it elsewhere, or choose with --select"
                if pattern is not None:
                    choice = f"{same} --select {shlex.quote(display(pattern))}"
                raise SourceError(
                    "mixed_architectures",
                    f"holds {display(other)}, and {display(paths[0].name)} holds {display(role)}: other"
                    f" weights, or an unfinished checkpoint; {choice}",
                    path=path,
                )
            status = self._kind.files(path)[0].stat()
            twin = files.setdefault((status.st_dev, status.st_ino), path)
            if twin != path:
                raise SourceError(
                    "duplicate_trajectory",
                    f"{display(twin.name)} and {display(path.name)} are the same file; remove one link",
                    path=self._run.folder,
                )

    def _check_types(self, state: State, schema: Schema, path: Path) -> None:
        """Refuse tensors of types that neither parameters nor module buffers can have."""
        dropped = self._rules.mode == "drop"
        for name, tensor in state.tensors.items():
            carried = name not in schema.parameters
            if tensor.dtype not in (NUMPY if carried else DTYPES) and not (carried and dropped):
                what = "a module buffer of this type cannot be stored; --buffers drop leaves it out"
                if not carried:
                    what = (
                        f"weights must be one of {', '.join(DTYPES)}; convert it first, or pass --buffer with"
                        " its name if it is no weight"
                    )
                raise SourceError("mixed_dtypes", f"`{display(name)}` is {tensor.dtype}: {what}", path=path)

    def _check_numbers(self, numbers: Sequence[int]) -> None:
        folder, paths = self._run.folder, self._run.checkpoints
        for first, second, a, b in zip(paths, paths[1:], numbers, numbers[1:], strict=False):
            if a == b:
                raise SourceError(
                    "duplicate_trajectory",
                    f"{display(first.relative_to(folder))} and {display(second.relative_to(folder))} are both"
                    f" number {a}; move one of them elsewhere",
                    path=self._run.folder,
                )

    def close(self) -> None:
        """Free the states. The map of a file ends with the last view of it."""
        self._states = []


class RunPart(FilePart):
    """The checkpoints of one training run."""

    def __init__(
        self, run: Run, kind: Kind, schema: Schema | None, rules: Rules, options: OpenOptions
    ) -> None:
        super().__init__(*(file for one in run.checkpoints for file in kind.files(one)))
        self._run, self._kind, self._schema = run, kind, schema
        self._rules, self._options = rules, options

    def copies(self, hashes: Sequence[str]) -> list[str]:
        """Return a remark on checkpoints that are copies of earlier ones, byte for byte."""
        left = iter(hashes)
        first: dict[tuple[str, ...], Path] = {}
        pairs = []
        for path in self._run.checkpoints:
            files = [(file, next(left)) for file in self._kind.files(path)]
            contents = tuple(found for file, found in files if not file.name.endswith(INDEX))
            if (earlier := first.setdefault(contents, path)) != path:
                names = [display(each.relative_to(self._run.folder)) for each in (path, earlier)]
                pairs.append(" of ".join(names))
        what = "copies of earlier checkpoints, byte for byte, which may be failed saves"
        return [f"{what}: {shortened(pairs, _SHOWN)}"] if pairs else []

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the run as a single trajectory."""
        del scratch
        return [RunTrajectory(self._run, self._kind, self._schema, self._rules, self._options)]


def _check_buffers(
    first: Mapping[str, Stored], state: State, names: Sequence[str], path: Path, origin: Path
) -> None:
    """Require that module buffers have the types and shapes of those in the first checkpoint of the run.

    Raises:
        SourceError: a module buffer differs.
    """
    for name in names:
        own, other = state.tensors[name], first.get(name)
        if other is not None and (own.dtype, own.shape) != (other.dtype, other.shape):
            raise SourceError(
                "mixed_architectures",
                f"the module buffer `{display(name)}` is {own.dtype} {own.shape} here, and {other.dtype}"
                f" {other.shape} in {display(origin.name)}; --buffers drop leaves module buffers out",
                path=path,
            )


def _under(key: str) -> str:
    return f"under `{display(key)}`" if key else "at the top"

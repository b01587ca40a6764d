"""A whole distillation: from a bundle and settings to a folder of results, and the test of these results.

`DistillRun` settles everything that a distillation needs: settings, dataset, model, folder and processes. The
outer loop is in `loop`, one outer step in `distiller`.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import trajfmt
from mct.data.datasets import SOURCES
from mct.distillation.condenser import Condenser
from mct.distillation.distiller import Distiller
from mct.distillation.folder import RunFolder
from mct.distillation.loop import distill
from mct.distillation.settling import method_of, require_trajectories, settle
from mct.distillation.stages import earlier_of, remark
from mct.distillation.stepper import Stepper
from mct.errors import ConfigError
from mct.evaluation.comparison import Comparison
from mct.events import Accuracy, Evaluated, NetworkTrained, Note, OuterStep
from mct.results.origin import Origin, Selection
from mct.runtime.devices import device_of
from mct.runtime.execution import Execution
from mct.runtime.phases import phase
from mct.runtime.ranks import Alone, Ranks
from mct.settings import defaults
from mct.settings.config import EvaluateConfig
from mct.trajectories.joined import JoinedBundles
from trajfmt.errors import counted
from trajfmt.schema import models


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a finished distillation."""

    path: Path
    """The file of the best images if evaluations chose some, else that of the last ones."""

    selection: Selection | None
    """Why the best images are the best; None without evaluations."""

    comparison: Comparison | None
    """What `DistillRun.test` takes, if the best images were chosen on held-out images; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRun:
    """Everything that a distillation needs, checked. Use it in a `with` block, which closes the bundle.

    Example:
        with DistillRun.prepare("out.mct", Path("out-distilled"), ipc=10) as run:
            for event in run.events():
                print(event)
    """

    distiller: Stepper
    """One outer step."""

    folder: RunFolder
    """Where results, state, settings and metrics go."""

    bundle: trajfmt.Bundle | JoinedBundles | None
    """The experts' trajectories; None for a method that needs none."""

    resume: bool
    """Whether the run in the folder is continued."""

    evaluation: EvaluateConfig | None
    """The protocol of evaluations during the run; None: that of the run that is continued."""

    dataset: str | None = None
    """The user's word for the dataset, where no bundle names one."""

    model: str | None = None
    """The user's word for the model, where no bundle knows it."""

    root: Path | None = None
    """Folder of the dataset's files."""

    device: str = "cpu"
    """Where to compute."""

    @classmethod
    def prepare(
        cls,
        traj: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
        out: Path,
        *,
        resume: bool = False,
        preset: str | None = None,
        after: Path | None = None,
        dataset: str | None = None,
        model: str | None = None,
        preprocessing: str | None = None,
        root: Path | None = None,
        device: str = "cpu",
        eval_networks: int | None = None,
        eval_epochs: int | None = None,
        eval_batch: int | None = None,
        eval_protocol: str | None = None,
        execution: Execution | None = None,
        ranks: Ranks | None = None,
        shard: bool = False,
        **settings: Any,
    ) -> "DistillRun":
        """Open a bundle, load its dataset, and settle settings, model and folder.

        Args:
            traj: Path or address of a bundle, or of several, whose trajectories are all used. All their
                files are compared with their hashes. None for a method that needs no trajectories.
            out: Folder of the run.
            resume: Continue the run in the folder. Its settings are used where none are given.
            preset: Name of published settings.
            after: Result of an earlier stage, a folder of a run or a file: its images are kept as they are,
                and `ipc` new ones per class are added. A run that is resumed needs it again.
            dataset: Name or path of the dataset, used if the bundle names none.
            model: Like ConvNetD3W128, used if the bundle does not know it.
            preprocessing: `none`, `normalize` or `zca`, used if the bundle states none. Without a bundle,
                `mct.distillation.settling.settle` says what is used where dataset, model and preprocessing
                are not given; a run that is continued uses its own.
            root: Folder of the dataset's files.
            device: Where to compute.
            eval_networks: Fresh networks of an evaluation; None: as the defaults for the dataset. It needs
                `eval_every`, like `eval_epochs`.
            eval_epochs: Passes over the images in an evaluation; None: as the defaults for the dataset.
            eval_batch: Images per step in an evaluation; None: as the preset says, or 256.
            eval_protocol: Protocol of evaluations; None: as the preset says, or `mtt`.
            execution: Budgets of memory; None: the usual ones.
            ranks: The processes that share the run, each of which makes this call; None: this one alone.
            shard: Divide every batch among the processes, instead of the samples of an outer step.
            settings: Fields of `DistillConfig`; None leaves the default. Without `samples`, a new run has as
                many samples as there are processes, unless `shard` is given.

        Raises:
            ExistsError: The folder is not empty, and `resume` was not given.
            MissingError: There is no run to resume.
            MctError: Settings, bundle, dataset and model do not fit together.
            FormatError: The bundle is damaged.
        """
        ranks, folder = ranks or Alone(), RunFolder(out)
        if not resume and ranks.rank == 0:
            folder.check_free()
        before = folder.origin() if resume else None
        earlier = earlier_of(after, before, given=settings)
        paths = [traj] if isinstance(traj, (str, os.PathLike)) else traj or ()
        use = require_trajectories(
            bool(paths), preset, settings.get("method") or (before.config.method if before else None)
        )
        divided = use != "unused" and not resume and not shard
        if divided and settings.get("samples") is None and ranks.size > 1:
            settings["samples"] = ranks.size
        if before is not None and not paths:
            dataset, model, preprocessing = _recorded(before, dataset, model, preprocessing)
        bundle = _opened(paths) if paths else None
        try:
            settled = settle(
                bundle,
                dataset=dataset,
                model=model,
                preprocessing=preprocessing,
                root=root,
                base=before.config if before else None,
                preset=preset,
                recipe=None,
                stage=1 if earlier is None else len(earlier.stages) + 1,
                settings=settings,
            )
            here = device_of(device)
            distiller: Stepper
            if settled.config.condensation is not None:
                _refuse_unused(execution, shard=shard, after=after)
                distiller = Condenser.of(settled, device=here, execution=execution, ranks=ranks)
            else:
                distiller = Distiller.of(
                    settled,
                    bundle,
                    device=here,
                    execution=execution,
                    ranks=ranks,
                    shard=shard,
                    earlier=earlier,
                )
            record = trajfmt.Provenance() if bundle is None else bundle.manifest.provenance
            line = remark((record or trajfmt.Provenance()).recipe, earlier)
            distiller.notes += [] if line is None else [line]
            asked = {
                "eval_networks": eval_networks,
                "eval_epochs": eval_epochs,
                "eval_batch": eval_batch,
                "eval_protocol": eval_protocol,
            }
            _require_evaluations(distiller, [name for name, value in asked.items() if value is not None])
            evaluation = None
            if not resume or any(value is not None for value in asked.values()):
                own = {} if resume else distiller.recipe.settings
                said = {**own, **{name: value for name, value in settings.items() if value is not None}}
                published = {} if resume else _published(bundle, distiller, preset, settings.get("method"))
                if earlier is not None and not resume:
                    published.setdefault("protocol", "sequence")
                evaluation = defaults.evaluate_config(
                    distiller.dataset.name,
                    base=before.evaluation if before else None,
                    networks=eval_networks or published.get("networks"),
                    epochs=eval_epochs or published.get("epochs"),
                    batch_size=eval_batch or published.get("batch_size"),
                    protocol=eval_protocol or published.get("protocol"),
                    augment=said.get("augment") or published.get("augment"),
                    seed=said.get("seed"),
                )
        except BaseException:
            if bundle is not None:
                bundle.close()
            raise
        idle = 0 if shard else ranks.size - distiller.config.samples
        if idle > 0:
            distiller.notes.append(
                f"{idle} of {ranks.size} processes {'has' if idle == 1 else 'have'} nothing to do: "
                "an outer step averages "
                f"{counted(distiller.config.samples, 'sample')}; use fewer processes, or --shard"
            )
        count = distiller.config.ipc * distiller.dataset.classes
        if distiller.config.earlier_images == "joint":
            count += sum(stage.images for stage in distiller.origin.stages)
        if (distiller.config.batch_syn or 0) > count:
            distiller.notes.append(
                f"`batch_syn` is {distiller.config.batch_syn}, more than the "
                f"{counted(count, 'synthetic image')}: every "
                "batch has all of them"
            )
        return cls(
            distiller=distiller,
            folder=folder,
            bundle=bundle,
            resume=resume,
            evaluation=evaluation,
            dataset=dataset,
            model=model,
            root=root,
            device=device,
        )

    @property
    def ranks(self) -> Ranks:
        """The processes that share the run."""
        return self.distiller.ranks

    def events(self) -> Generator[Evaluated | Note | OuterStep, None, None]:
        """Run the outer loop to its end; see `mct.distillation.loop.distill`."""
        return distill(self.distiller, self.folder, resume=self.resume, evaluation=self.evaluation)

    def outcome(self) -> Outcome:
        """Return the result, once the outer loop has ended; only process 0 may call it.

        Raises:
            MctError: The best images cannot be tested with this dataset and model.
        """
        best = self.folder.chosen()
        selection = best.selected if best else None
        comparison = None
        if best and selection and selection.on == "heldout" and best.evaluation:
            comparison = Comparison.prepare(
                self.folder.best,
                dataset=self.dataset,
                model=self.model,
                root=self.root,
                device=self.device,
                **asdict(best.evaluation),
            )
        path = self.folder.result if selection is None else self.folder.best
        return Outcome(path=path, selection=selection, comparison=comparison)

    def test(self, comparison: Comparison) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on the best images, test them on the test set, and record the result in the folder.

        Args:
            comparison: That of `outcome`.

        Returns:
            A generator that yields each network and returns their accuracy.
        """
        accuracy = yield from comparison.distilled()
        self.folder.record_test(comparison.synthetic.run.outer_step, accuracy)
        return accuracy

    def close(self) -> None:
        """Close the bundle, if there is one."""
        if self.bundle is not None:
            self.bundle.close()

    def __enter__(self) -> "DistillRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refuse_unused(execution: Execution | None, *, shard: bool, after: Path | None) -> None:
    """Refuse budgets, a division of batches, and earlier stages in a run without an inner loop.

    Raises:
        ConfigError: There are some.
    """
    usual, given = Execution(), ["shard"] * shard + ["after"] * (after is not None)
    names = ("knots_mb", "keep_mb", "step_images")
    given += [name for name in names if execution and getattr(execution, name) != getattr(usual, name)]
    if given:
        listed = ", ".join(f"`{name}`" for name in given)
        raise ConfigError(f"{listed}: no effect without an inner loop; omit {listed}")


def _recorded(
    before: Origin, dataset: str | None, model: str | None, preprocessing: str | None
) -> tuple[str, str, str]:
    """Return dataset, model and preprocessing of a run that is continued without a bundle.

    Code that builds the network, and the path of a dataset, must be named again.

    Raises:
        ConfigError: The path of the dataset, or the code of the network, is not given.
    """
    if dataset is None and before.dataset not in SOURCES:
        raise ConfigError(
            f"the run used the dataset {before.dataset!r}, which is a file or folder; give its path: "
            "--dataset"
        )
    if model is None and before.model.factory is not None:
        raise ConfigError(
            f"the run was started with the network {before.model.factory}, whose code is not run without "
            f"your consent; give --model {before.model.factory} if you trust it"
        )
    model = model or models.model_name(before.model)
    return dataset or before.dataset, model, preprocessing or before.preprocessing.kind


def _opened(places: Sequence[str | os.PathLike[str]]) -> trajfmt.Bundle | JoinedBundles:
    """Open one bundle, or several as one.

    Raises:
        MismatchError: Their experts are not of one kind.
        FormatError: One is damaged.
    """
    with phase(f"verifying {', '.join(map(str, places))}"), ExitStack() as stack:
        bundles = [stack.enter_context(trajfmt.open(place, verify=True)) for place in places]
        joined = bundles[0] if len(bundles) == 1 else JoinedBundles(bundles)
        stack.pop_all()
    return joined


def _require_evaluations(distiller: Stepper, given: list[str]) -> None:
    """Refuse settings of evaluations in a run that has none.

    Raises:
        ConfigError: There are some.
    """
    if given and distiller.config.eval_every is None:
        names = " and ".join(f"`{name}`" for name in given)
        raise ConfigError(
            f"{names}: the run has no evaluations, as `eval_every` is not given; give it, or omit {names}"
        )


def _published(
    bundle: trajfmt.Bundle | JoinedBundles | None,
    distiller: Stepper,
    preset: str | None,
    method: str | None,
) -> dict[str, Any]:
    """Return the settings of evaluations that the preset of a run has."""
    return defaults.evaluation_of(
        distiller.dataset.name,
        distiller.config.ipc,
        preset=preset,
        preprocessing=distiller.dataset.transform.record.kind,
        method=method_of(bundle, preset, method),
        stage=len(distiller.origin.stages) + 1,
    )

"""A whole distillation in Python, and who writes its files."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import NoFiles, RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.distillation.run import DistillRun  # noqa: E402
from mct.distillation.settling import settle  # noqa: E402
from mct.errors import ConfigError, ExistsError, MismatchError, MissingError  # noqa: E402
from mct.events import Evaluated, OuterStep  # noqa: E402
from mct.learned.updates import Sgd  # noqa: E402
from mct.methods.recipe import Recipe  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.table import FromScene  # noqa: E402
from mct.results import metrics, synthetic  # noqa: E402
from tests.helpers.fakes import random_walk  # noqa: E402
from trajfmt.schema import models  # noqa: E402

SETTINGS = {"ipc": 1, "inner_steps": 2, "expert_steps": 2, "max_start": 3, "outer_steps": 2,
            "lr_img": 10, "lr_lr": 1e-4, "lr_init": 0.02, "augment": "none"}  # fmt: skip
EVALUATED = {**SETTINGS, "eval_networks": 1, "eval_epochs": 1}


class Member:
    """One of two processes, which never wait for each other."""

    rank, size = 0, 2

    def sum(self, values) -> None:
        """Leave the values as they are."""


@pytest.fixture
def traj(tmp_path: Path, network, model) -> Path:
    """Write a bundle of two random trajectories that records dataset and model."""
    path = tmp_path / "two.mct"
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    record = trajfmt.Provenance(
        dataset="digits", model=model, preprocessing=trajfmt.Preprocessing(kind="normalize")
    )
    with trajfmt.create(path, layout, encoding="convex", provenance=record) as writer:
        for seed in range(2):
            writer.add(trajfmt.ArrayTrajectory(0.1 * random_walk(layout, 8, seed), layout))
    return path


def test_run_continues_and_has_an_outcome(tmp_path: Path, traj: Path) -> None:
    """The settings of a run that is continued are those that it was started with."""
    out = tmp_path / "out"
    with DistillRun.prepare(str(traj), out, **SETTINGS) as run:
        events = list(run.events())
        assert [event.step for event in events if isinstance(event, OuterStep)] == [1, 2]
        found = run.outcome()
    assert (found.path, found.selection, found.comparison) == (out / synthetic.RESULT_NAME, None, None)
    with DistillRun.prepare(traj, out, resume=True, outer_steps=3) as run:
        assert run.distiller.config.lr_img == 10
        assert run.evaluation is None
        assert [event.step for event in run.events() if isinstance(event, OuterStep)] == [3]


def test_several_bundles_are_one_stream(tmp_path: Path, traj: Path) -> None:
    """With those of one bundle that has all trajectories, to the last bit; each hash is recorded."""
    parts = []
    with trajfmt.open(traj) as both:
        for number in range(2):
            parts.append(tmp_path / f"{number}.mct")
            with trajfmt.create(parts[-1], both.layout, encoding="convex") as writer:
                writer.add(both[number])
    images = []
    for name, given in (("one", traj), ("parts", parts)):
        with DistillRun.prepare(given, tmp_path / name, **SETTINGS) as run:
            list(run.events())
            images.append(synthetic.load(run.outcome().path))
    assert torch.equal(images[0].images, images[1].images)
    assert images[0].run.artifacts == ()
    hashes = tuple(trajfmt.open(part).sha256 for part in parts)
    assert images[1].run.artifacts == hashes
    with DistillRun.prepare(parts, tmp_path / "parts", resume=True, outer_steps=3) as run:
        assert [event.step for event in run.events() if isinstance(event, OuterStep)] == [3]
    for others in (traj, parts[::-1], parts[:1]):
        with (
            DistillRun.prepare(others, tmp_path / "parts", resume=True, outer_steps=4) as run,
            pytest.raises(MismatchError, match="the run has `artifact_sha256`"),
        ):
            list(run.events())
    with pytest.raises(ConfigError, match="give at least one bundle"):
        DistillRun.prepare([], tmp_path / "none", **SETTINGS)


def test_images_chosen_on_heldout_ones_are_to_be_tested(tmp_path: Path, traj: Path) -> None:
    """The comparison has the best images and the protocol of the run, and the test is in its folder."""
    with DistillRun.prepare(traj, tmp_path / "out", eval_every=1, **EVALUATED) as run:
        assert any(isinstance(event, Evaluated) for event in run.events())
        found = run.outcome()
    assert found.path == run.folder.best
    assert found.selection is not None
    assert found.selection.on == "heldout"
    assert found.comparison is not None
    assert found.comparison.config == run.evaluation
    networks = run.test(found.comparison)
    (trained,) = networks
    tested = metrics.read_test(tmp_path / "out")
    assert tested is not None
    assert tested.outer_step == found.comparison.synthetic.run.outer_step
    assert (tested.accuracy.mean, tested.accuracy.std) == (trained.accuracy, None)
    assert (tested.accuracy.networks, tested.accuracy.on) == ([trained.accuracy], "test")


def test_images_chosen_on_the_test_set_are_not_tested_again(tmp_path: Path, traj: Path) -> None:
    """Their accuracy is known already."""
    with DistillRun.prepare(traj, tmp_path / "out", eval_every=2, select="test", **EVALUATED) as run:
        list(run.events())
        found = run.outcome()
    assert found.selection is not None
    assert found.comparison is None


def test_stages_are_evaluated_in_sequence(tmp_path: Path, traj: Path) -> None:
    """Without a word of the user; the best images of the stage before are those that are kept."""
    given = {**EVALUATED, "eval_every": 1, "select": "test"}
    kept = []
    for name, after in (("one", None), ("two", tmp_path / "one"), ("three", tmp_path / "two")):
        with DistillRun.prepare(traj, tmp_path / name, after=after, **given) as run:
            assert run.evaluation.protocol == ("mtt" if after is None else "sequence")
            list(run.events())
        kept.append(synthetic.load(tmp_path / name / synthetic.BEST_NAME))
    assert torch.equal(kept[2].images[:20], kept[1].images)
    assert torch.equal(kept[1].images[:10], kept[0].images)
    assert [stage.learning_rate for stage in kept[2].stages] == [one.learning_rate for one in kept]
    with DistillRun.prepare(
        traj, tmp_path / "x", after=tmp_path / "one", eval_protocol="mtt", **given
    ) as run:
        assert run.evaluation.protocol == "mtt"


def test_folder_is_looked_at_first(tmp_path: Path) -> None:
    """Neither a bundle nor a dataset is read for a run that cannot start."""
    out = tmp_path / "out"
    with pytest.raises(MissingError):
        DistillRun.prepare(tmp_path / "absent.mct", out, resume=True)
    out.mkdir()
    (out / "file").touch()
    with pytest.raises(ExistsError):
        DistillRun.prepare(tmp_path / "absent.mct", out)


@pytest.mark.parametrize("name", ["eval_networks", "eval_epochs"])
def test_settings_of_evaluations_that_there_are_not_are_refused(
    tmp_path: Path, traj: Path, name: str
) -> None:
    """They would have no effect, also when a run without evaluations is continued."""
    with pytest.raises(ConfigError, match=f"`{name}`: the run has no evaluations, as `eval_every` is not"):
        DistillRun.prepare(traj, tmp_path / "out", **SETTINGS, **{name: 3})
    assert not (tmp_path / "out").exists()
    with DistillRun.prepare(traj, tmp_path / "out", **SETTINGS) as run:
        list(run.events())
    with pytest.raises(ConfigError, match="the run has no evaluations"):
        DistillRun.prepare(traj, tmp_path / "out", resume=True, outer_steps=3, **{name: 3})


def test_bundle_is_closed_after_an_error(tmp_path: Path, traj: Path, monkeypatch) -> None:
    """Nothing is left open when settings are wrong."""
    closed = []
    close = trajfmt.Bundle.close
    monkeypatch.setattr(trajfmt.Bundle, "close", lambda bundle: (closed.append(bundle), close(bundle)))
    with pytest.raises(ConfigError):
        DistillRun.prepare(traj, tmp_path / "out", **SETTINGS | {"max_start": 90})
    assert len(closed) == 1


def test_processes_average_a_sample_each(tmp_path: Path, traj: Path) -> None:
    """Unless the user says how many samples there are; idle processes are then named."""
    with DistillRun.prepare(traj, tmp_path / "out", ranks=Member(), **SETTINGS) as run:
        assert run.distiller.config.samples == 2
        assert not run.distiller.notes
    with DistillRun.prepare(traj, tmp_path / "out", ranks=Member(), samples=1, **SETTINGS) as run:
        assert run.distiller.notes[-1].startswith("1 of 2 processes has nothing to do: ")
    with DistillRun.prepare(traj, tmp_path / "out", ranks=Member(), shard=True, **SETTINGS) as run:
        assert run.distiller.config.samples == 1
        assert not run.distiller.notes


@pytest.mark.parametrize("size", [10, 11])
def test_a_batch_of_more_images_than_there_are_is_said(tmp_path: Path, traj: Path, size: int) -> None:
    """Of ten images, every batch has ten at most, whatever the settings say."""
    with DistillRun.prepare(traj, tmp_path / "out", batch_syn=size, **SETTINGS) as run:
        notes = ["`batch_syn` is 11, more than the 10 synthetic images: every batch has all of them"]
        assert run.distiller.notes == (notes if size == 11 else [])


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    """They know only where the state is, for messages."""
    files = NoFiles(RunFolder(tmp_path / "out"))
    assert files.state == tmp_path / "out" / "state.safetensors"
    files.record(None)
    files.save(None, None)
    assert not (tmp_path / "out").exists()


def test_recipe_given_in_python_is_recorded_by_its_name(tmp_path: Path, traj: Path) -> None:
    """Without the recipe, the run is not continued as something else."""
    recipe = Recipe(name="own", updates={"images": Sgd(1.0)}, settings={"augment": "none"})
    settings = {name: value for name, value in SETTINGS.items() if name not in ("lr_img", "augment")}
    with trajfmt.open(traj) as bundle:
        distiller = Distiller.from_bundle(bundle, recipe=recipe, **settings)
        assert (distiller.config.method, distiller.config.augment) == ("own", "none")
        list(distill(distiller, RunFolder(tmp_path / "out")))
    with pytest.raises(ConfigError, match="started in Python with the recipe 'own'; resume it there"):
        DistillRun.prepare(traj, tmp_path / "out", resume=True)


def test_run_of_a_recipe_without_trajectories_uses_what_is_usual_for_its_dataset() -> None:
    """The preprocessing and the network; the user's word takes precedence."""
    recipe = Recipe(name="fresh", objective=FromScene(TrajectoryMatching))
    settings = {**SETTINGS, "ipc": 2}
    common = {"dataset": "digits", "root": None, "base": None, "preset": None, "recipe": recipe,
              "settings": settings}  # fmt: skip
    with pytest.raises(ConfigError, match="a run without trajectories needs a dataset; give it: --dataset"):
        Distiller.from_bundle(None, recipe=recipe, **settings)
    settled = settle(None, model=None, preprocessing=None, **common)
    assert settled.dataset.transform.record.kind == "normalize"
    assert models.model_name(settled.model) == "ConvNetD2W32"
    assert (settled.config.ipc, settled.config.method) == (2, "fresh")
    settled = settle(None, model="ConvNetD1W4", preprocessing="none", **common)
    assert settled.dataset.transform.record.kind == "none"
    assert models.model_name(settled.model) == "ConvNetD1W4"

"""Training and recording of experts."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct import experts, networks  # noqa: E402
from mct.augment import augmentation  # noqa: E402
from mct.config import ExpertConfig  # noqa: E402
from mct.data import Dataset  # noqa: E402
from mct.errors import ConfigError, DivergedError, ExistsError  # noqa: E402
from mct.events import ExpertDone, ExpertEpoch, ExpertsFound  # noqa: E402
from mct.recording import Rows  # noqa: E402
from mct.seeds import generator  # noqa: E402

CONFIG = ExpertConfig(experts=2, epochs=3, lr=0.05, batch_size=500, augment="none")


class Kept:
    """Keeps trajectories in memory."""

    def __init__(self) -> None:
        self.theta: list[np.ndarray] = []

    @property
    def finished(self) -> int:
        """Return how many."""
        return len(self.theta)

    def tape(self) -> Rows:
        """Return an empty tape."""
        return Rows()

    def keep(self, tape: Rows) -> None:
        """Keep a tape."""
        self.theta.append(np.stack(tape.rows))


def trained(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig = CONFIG):
    """Return events and trajectories."""
    store = Kept()
    return list(experts.train_experts(dataset, model, config, store)), store.theta


def run_of(path: Path, **settings: object) -> experts.ExpertRun:
    """Return a small run on the digits."""
    settings = {"experts": 2, "epochs": 3, "lr": 0.05, "batch_size": 500, "augment": "none"} | settings
    return experts.ExpertRun.prepare("digits", path, model="ConvNetD2W4", **settings)  # type: ignore[arg-type]


def stop_after(run: experts.ExpertRun, count: int) -> None:
    """Run until the given number of experts is done, then stop as Ctrl-C does."""
    events = run.events()
    while count:
        count -= isinstance(next(events), ExpertDone)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)


def contents(path: Path) -> dict[str, bytes]:
    """Return every file under a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_timesteps_are_initialisation_and_every_epoch(digits: Dataset, model: trajfmt.Model) -> None:
    """A trajectory has T+1 distinct rows, the first one the network as it was built."""
    events, theta = trained(digits, model)
    start = networks.flatten(networks.build(model, generator=generator(0, "expert", 0)))
    assert [item.shape for item in theta] == [(4, start.numel())] * 2
    assert theta[0].dtype == np.float32
    assert np.array_equal(theta[0][0], start.numpy())
    assert len({row.tobytes() for item in theta for row in item}) == 8
    assert [type(event) for event in events] == ([ExpertEpoch] * 3 + [ExpertDone]) * 2


def test_updates_are_plain_sgd(digits: Dataset, model: trajfmt.Model) -> None:
    """One epoch equals MTT's recipe written down once more."""
    _, theta = trained(
        digits, model, ExpertConfig(experts=1, epochs=1, lr=0.05, batch_size=500, augment="none")
    )
    random = generator(0, "expert", 0)
    network = networks.build(model, generator=random)
    order = torch.randperm(1352, generator=random)
    for batch in (order[:500], order[500:1000], order[1000:]):
        loss = torch.nn.functional.cross_entropy(
            network(digits.train_images[batch]), digits.train_labels[batch]
        )
        grads = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for value, grad in zip(network.parameters(), grads, strict=True):
                value -= 0.05 * grad
    np.testing.assert_allclose(theta[0][1], networks.flatten(network).numpy(), atol=1e-7)


def plainly(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig, expert: int):
    """Return timesteps, losses and accuracies of an expert that is trained as a module, batch by batch."""
    random = generator(config.seed, "expert", expert)
    network = networks.build(model, generator=random).train()
    augment = augmentation(config.augment)
    settings = {"momentum": config.momentum, "weight_decay": config.weight_decay}
    optimizer = torch.optim.SGD(network.parameters(), lr=config.lr, **settings)
    rows, facts = [networks.flatten(network).numpy()], []
    images, labels = dataset.train_images, dataset.train_labels
    for epoch in range(config.epochs):
        total = torch.zeros(2, dtype=torch.float64)
        for batch in torch.randperm(len(labels), generator=random).split(config.batch_size):
            inputs = images[batch] if augment is None else augment(images[batch], random)
            logits = network(inputs)
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hits = (logits.argmax(1) == labels[batch]).sum()
            total += torch.stack([loss.detach() * len(batch), hits]).double()
        rows.append(networks.flatten(network).numpy())
        facts.append(tuple((total / len(labels)).tolist()))
        if config.lr_decay and epoch == config.epochs // 2 + 1:
            optimizer = torch.optim.SGD(network.parameters(), lr=config.lr / 10, **settings)
    return np.stack(rows), facts


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD1W4BN"])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_experts_are_those_of_plain_training(digits: Dataset, name: str, at_once: int) -> None:
    """Bit for bit, with all that a recipe can have, however many are trained at once."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    config = ExpertConfig(
        experts=3, epochs=5, lr=0.05, batch_size=500, momentum=0.5, weight_decay=1e-3, lr_decay=True
    )
    store = Kept()
    events = list(experts.train_experts(digits, model, config, store, at_once=at_once))
    for expert, theta in enumerate(store.theta):
        rows, facts = plainly(digits, model, config, expert)
        assert np.array_equal(theta, rows)
        own = [event for event in events if isinstance(event, ExpertEpoch) and event.expert == expert]
        assert [(event.loss, event.accuracy) for event in own] == facts
        assert [event.epoch for event in own] == [1, 2, 3, 4, 5]
    assert [event.expert for event in events if isinstance(event, ExpertDone)] == [0, 1, 2]


def test_groups_are_continued_and_grow(tmp_path: Path) -> None:
    """An interrupted run of groups continues one by one, and ends with the same bytes."""
    small = {"experts": 5, "epochs": 2, "batch_size": 2000}
    for _ in run_of(tmp_path / "whole.mct", **small).events():
        pass
    stop_after(run_of(tmp_path / "out.mct", at_once=2, **small), 3)
    events = list(run_of(tmp_path / "out.mct", at_once=3, **small).events())
    assert events[0] == ExpertsFound(count=4)  # a group is kept as a whole
    assert contents(tmp_path / "out.mct") == contents(tmp_path / "whole.mct")
    with pytest.raises(ConfigError, match="`at_once`"):
        run_of(tmp_path / "other.mct", at_once=0)


def test_engine_goes_by_the_updates_of_one_expert(digits: Dataset, model: trajfmt.Model, monkeypatch) -> None:
    """Not by their number: an expert must not depend on how many there are."""
    asked: list[int] = []

    def choose(_: str, updates: int, *_where: object) -> str:
        asked.append(updates)
        return "eager"

    monkeypatch.setattr(experts, "choose", choose)
    for count in (1, 2):
        trained(digits, model, ExpertConfig(experts=count, epochs=2, batch_size=500))
    assert asked == [6, 6]


def test_expert_that_diverges_is_named(digits: Dataset, model: trajfmt.Model) -> None:
    """Weights that are not numbers are never handed over."""
    with pytest.raises(DivergedError, match="expert 0: the loss of epoch"):
        trained(digits, model, ExpertConfig(experts=1, epochs=30, lr=1e30))


def test_experts_depend_on_seed_and_number_alone(digits: Dataset, model: trajfmt.Model) -> None:
    """A larger set starts with the smaller one, bit for bit."""
    small = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    large = trained(digits, model, ExpertConfig(experts=2, epochs=1))[1]
    other = trained(digits, model, ExpertConfig(experts=1, epochs=1, seed=1))[1]
    assert np.array_equal(small[0], large[0])
    assert not np.array_equal(small[0], large[1])
    assert not np.array_equal(small[0], other[0])


def test_recording_every_few_steps(digits: Dataset, model: trajfmt.Model) -> None:
    """With 3 steps an epoch, 2 epochs and a record every 2 steps there are 3 records."""
    config = ExpertConfig(experts=1, epochs=2, batch_size=500, steps_per_timestep=2)
    events, theta = trained(digits, model, config)
    assert theta[0].shape[0] == 4
    assert events[-1].timesteps == 4
    record = experts.provenance(digits, model, config)
    assert (record.timestep.kind, record.timestep.every) == ("step", 2)


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_bundle_round_trip(tmp_path: Path, digits: Dataset, model: trajfmt.Model, suffix: str) -> None:
    """The bundle holds the trajectories and says how they came about."""
    path = tmp_path / f"out{suffix}"
    run = run_of(path)
    for _ in run.events():
        assert not path.exists()
    theta = trained(digits, model)[1]
    with trajfmt.open(path) as bundle:
        assert bundle.encoding == {".mct": "convex", ".mtt": "full"}[suffix]
        record = bundle.manifest.provenance
        assert (record.dataset, record.model) == ("digits", model)
        assert record.preprocessing == digits.transform.record
        assert record.recipe["lr"] == 0.05
        for trajectory, expected in zip(bundle, theta, strict=True):
            assert np.array_equal(trajectory.at(0), expected[0])
            assert np.array_equal(trajectory.at(3), expected[3])


def test_buffer_in_mtts_layout(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """The folder is MTT's, and every timestep has weights of its own."""
    run = run_of(tmp_path)
    for _ in run.events():
        pass
    path = tmp_path / "digits_NO_ZCA" / "ConvNetD2W4" / "replay_buffer_0.pt"
    stored = torch.load(path, weights_only=True)
    theta = trained(digits, model)[1]
    for trajectory, expected in zip(stored, theta, strict=True):
        for step, row in zip(trajectory, expected, strict=True):
            flat = torch.cat([tensor.reshape(-1) for tensor in step])
            assert np.array_equal(flat.numpy(), row)


def test_existing_destination_is_refused(tmp_path: Path) -> None:
    """Neither a bundle nor a buffer is touched once it exists."""
    (tmp_path / "out.mct").mkdir()
    (tmp_path / "out.mct" / "manifest.json").touch()
    with pytest.raises(ExistsError, match=r"out\.mct exists"):
        experts.ExpertRun.prepare("digits", tmp_path / "out.mct")
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32").mkdir(parents=True)
    (tmp_path / "digits_NO_ZCA" / "ConvNetD2W32" / "replay_buffer_0.pt").touch()
    with pytest.raises(ExistsError, match="ConvNetD2W32 exists"):
        next(experts.ExpertRun.prepare("digits", tmp_path).events())


def test_settings_known_for_the_dataset_are_used() -> None:
    """What is not given comes from the table of recipes."""
    run = experts.ExpertRun.prepare("digits", Path("absent.mct"), epochs=2)
    assert (run.config.epochs, run.config.lr, run.model.width) == (2, 0.05, 32)


@pytest.mark.parametrize(
    "setting", [{"experts": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"batch_size": 0}, {"seed": -1}]
)
def test_bad_setting_is_refused(setting) -> None:
    """Settings are checked before anything is trained, and the setting is named."""
    with pytest.raises(ConfigError, match=f"`{next(iter(setting))}`"):
        experts.ExpertRun.prepare("digits", Path("absent.mct"), **setting)


def test_convexified_bundle_equals_the_converted_buffer(tmp_path: Path) -> None:
    """The full trajectory never exists, and every byte but the provenance is that of a conversion."""
    from trajfmt.convert import ConvertOptions, convert

    for _ in run_of(tmp_path / "direct.mct", knots=(1,)).events():
        pass
    for _ in run_of(tmp_path / "buffers").events():
        pass
    convert(
        tmp_path / "buffers" / "digits_NO_ZCA" / "ConvNetD2W4",
        tmp_path / "converted.mct",
        ConvertOptions(knots=(1,)),
    )
    ours, theirs = contents(tmp_path / "direct.mct"), contents(tmp_path / "converted.mct")
    assert ours.pop("manifest.json") != theirs.pop("manifest.json")
    assert len(ours) == 3
    assert ours == theirs


def test_augmentation_is_part_of_the_recipe(digits: Dataset, model: trajfmt.Model) -> None:
    """With it an expert takes another way, and the same one again for the same seed."""
    plain = trained(digits, model, ExpertConfig(experts=1, epochs=1, augment="none"))[1]
    dsa = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    again = trained(digits, model, ExpertConfig(experts=1, epochs=1))[1]
    assert np.array_equal(dsa[0], again[0])
    assert np.array_equal(dsa[0][0], plain[0][0])
    assert not np.array_equal(dsa[0][1], plain[0][1])


def test_step_size_decays_where_mtt_lets_it(digits: Dataset, model: trajfmt.Model) -> None:
    """With 5 epochs the fifth is the first with a tenth: MTT switches after epoch number 5 // 2 + 1 = 3."""
    settings = {"experts": 1, "epochs": 5, "lr": 0.05, "batch_size": 2000, "augment": "none"}
    constant = trained(digits, model, ExpertConfig(**settings))[1][0].astype(np.float64)
    decayed = trained(digits, model, ExpertConfig(**settings, lr_decay=True))[1][0].astype(np.float64)
    assert np.array_equal(constant[:5], decayed[:5])
    full, tenth = constant[5] - constant[4], decayed[5] - decayed[4]
    np.testing.assert_allclose(tenth, full / 10, atol=1e-7)


@pytest.mark.parametrize("out", ["experts.mct", "experts.mtt", "buffers"])
@pytest.mark.parametrize("stops", [(1,), (2, 11), (10,)])
def test_interrupted_run_continues(tmp_path: Path, out: str, stops: tuple[int, ...]) -> None:
    """Finished experts are not trained again, nothing is at a bundle's place before, and bytes are equal."""
    small = {"experts": 12, "epochs": 2, "batch_size": 2000}
    whole = tmp_path / "whole" / out
    whole.parent.mkdir()
    for _ in run_of(whole, **small).events():
        pass
    done = 0
    for stop in stops:
        stop_after(run_of(tmp_path / out, **small), stop - done)
        done = stop
        assert out == "buffers" or not (tmp_path / out).exists()
    events = list(run_of(tmp_path / out, **small).events())
    assert [event.count for event in events if isinstance(event, ExpertsFound)] == [done]
    assert [e.expert for e in events if isinstance(e, ExpertDone)] == list(range(done, 12))
    assert contents(tmp_path / out) == contents(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out, "whole"])


def test_hidden_bundle_of_a_written_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between the file and the removal of what it was made from leaves no second copy."""
    small = {"experts": 11, "epochs": 2, "batch_size": 2000}
    for _ in run_of(tmp_path / "whole", **small).events():
        pass

    def stopped(_bundle: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mct.recording.shutil", SimpleNamespace(rmtree=stopped))
        with pytest.raises(KeyboardInterrupt):
            list(run_of(tmp_path / "out", **small).events())
    assert len(list(tmp_path.rglob(".replay_buffer_0.mtt"))) == 1
    for _ in run_of(tmp_path / "out", **small).events():
        pass
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("out", ["out.mct", "out.mtt", "buffers"])
def test_other_settings_do_not_touch_an_interrupted_run(tmp_path: Path, out: str) -> None:
    """They are refused, and the first settings continue from every finished expert."""
    stop_after(run_of(tmp_path / out), 1)
    with pytest.raises(ExistsError, match="other settings"):
        next(run_of(tmp_path / out, lr=0.01).events())
    assert next(run_of(tmp_path / out).events()) == ExpertsFound(count=1)


def test_set_of_experts_grows_after_a_kill_at_the_end(tmp_path: Path) -> None:
    """Killed between the last, short file and the end of the run: its two experts are two, not ten."""
    run = run_of(tmp_path)
    for _ in run.events():
        pass
    (run.path / ".experts").write_bytes(run._job().identity)
    events = list(run_of(tmp_path, experts=3).events())
    assert events[0] == ExpertsFound(count=2)
    assert [event.expert for event in events if isinstance(event, ExpertDone)] == [2]


@pytest.mark.parametrize(
    ("model", "kind", "folder"),
    [
        ("ConvNet", "none", "CIFAR10_NO_ZCA/ConvNet"),
        ("ConvNetD4", "zca", "CIFAR10/ConvNetD4"),
        ("ConvNetW64BN", "none", "Tiny/ConvNetW64BN"),
        ("ConvNetD2W32", "none", "digits_NO_ZCA/ConvNetD2W32"),
        ("ResNet18", "normalize", "CIFAR100_NO_ZCA/ResNet18"),
    ],
)
def test_folder_is_where_mtt_looks(model: str, kind: str, folder: str) -> None:
    """MTT's names leave out what is its default, and only CIFAR has the suffix there."""
    parsed = networks.parse(model, channels=3, image_size=32, classes=10)
    record = trajfmt.Preprocessing(kind=kind)  # type: ignore[arg-type]
    dataset = SimpleNamespace(name=folder.split("/")[0].removesuffix("_NO_ZCA"),
                              transform=SimpleNamespace(record=record))  # fmt: skip
    assert experts.buffer_folder(Path("b"), dataset, parsed) == Path("b", folder)  # type: ignore[arg-type]


def test_interruption_before_the_first_expert_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder nor a hidden file."""
    for out in ("out.mct", "buffers"):
        events = run_of(tmp_path / out).events()
        next(events)
        events.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_knots_must_fit(tmp_path: Path) -> None:
    """Before any expert is trained."""
    with pytest.raises(ConfigError, match="before the last timestep 3"):
        run_of(tmp_path / "out.mct", knots=(3,))
    with pytest.raises(ConfigError, match=r"--out NAME\.mct"):
        run_of(tmp_path / "out.mtt", knots=(1,))


def test_kill_keeps_finished_experts(tmp_path: Path) -> None:
    """A real kill -9 after the first expert: the second run has it, and ends with the same bytes."""
    code = f"""
import os, signal
from pathlib import Path
from mct.experts import ExpertRun
from mct.events import ExpertDone
run = ExpertRun.prepare("digits", Path({str(tmp_path / "out.mct")!r}), model="ConvNetD2W4",
                        experts=2, epochs=3, lr=0.05, batch_size=500, augment="none")
for event in run.events():
    if isinstance(event, ExpertDone):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on them
    killed = subprocess.run([sys.executable, "-c", code], check=False, env=threads)
    assert killed.returncode == -9
    events = list(run_of(tmp_path / "out.mct").events())
    assert isinstance(events[0], ExpertsFound)
    for _ in run_of(tmp_path / "whole.mct").events():
        pass
    assert contents(tmp_path / "out.mct") == contents(tmp_path / "whole.mct")

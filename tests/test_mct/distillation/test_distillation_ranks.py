"""Distilling with several processes: the run is that of one, and whatever ends one process ends all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import DivergedError, ExistsError, RankError  # noqa: E402
from mct.events import OuterStep  # noqa: E402
from mct.runtime.ranks import Alone  # noqa: E402
from mct.settings.config import DistillConfig, EvaluateConfig  # noqa: E402
from tests.helpers.threads import in_ranks  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=5, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4, save_every=100, samples=2)  # fmt: skip
PROTOCOL = EvaluateConfig(networks=1, epochs=1)


@pytest.fixture
def runs(bundle, digits, model) -> Callable[..., list]:
    """Return a function that distils in as many threads as are asked for, or in this one."""

    def run(path: Path, size: int = 1, config=CONFIG, prepare=None, **options) -> list:
        resume = options.pop("resume", False)

        def work(ranks) -> list:
            distiller = Distiller(
                bundle, digits, model, config, artifact_sha256="ab" * 32, ranks=ranks, **options
            )
            if prepare is not None:
                prepare(distiller)
            return list(distill(distiller, RunFolder(path), resume=resume, evaluation=PROTOCOL))

        return [work(Alone())] if size == 1 else in_ranks(work, size)

    return run


def content(path: Path) -> dict[str, object]:
    """Return the files of a run, without what it took of the machine."""
    files: dict[str, object] = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    taken = dict.fromkeys(("seconds", "parts", "memory_mb", "utilisation"))
    return files | {
        "metrics.jsonl": [json.loads(line) | taken for line in files["metrics.jsonl"].splitlines()]
    }


@pytest.mark.parametrize("extra", [{}, {"labels": "teacher", "eval_every": 2, "samples": 3}], ids=str)
def test_samples_of_two_processes_are_those_of_one(tmp_path: Path, runs, extra) -> None:
    """Everything that process 0 writes is what one process writes, to the bit where two numbers are added."""
    config = replace(CONFIG, **extra)
    one = runs(tmp_path / "one", config=config)[0]
    two = runs(tmp_path / "two", 2, config)
    if config.samples == 2:
        assert content(tmp_path / "one") == content(tmp_path / "two")
    assert content(tmp_path / "one").keys() == content(tmp_path / "two").keys()
    losses = [[event.loss for event in events if isinstance(event, OuterStep)] for events in (one, *two)]
    assert losses[1] == losses[2]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_sharded_run_is_that_of_one_process(tmp_path: Path, runs) -> None:
    """With `shard` every process has a part of every batch, and the run is the same up to rounding."""
    config = replace(CONFIG, samples=1)
    (one,) = runs(tmp_path / "one", config=config)
    two = runs(tmp_path / "two", 2, config, shard=True)
    for events in two:
        assert [event.loss for event in events] == pytest.approx([event.loss for event in one], rel=1e-4)
    (alone, shared) = (states.load(tmp_path / name / "state.safetensors") for name in ("one", "two"))
    assert torch.allclose(alone.synthetic.images, shared.synthetic.images, atol=1e-3)


def test_error_before_the_first_step_ends_all(tmp_path: Path, runs) -> None:
    """Process 0 says what is wrong with the folder, the others stop; nothing is changed."""
    (tmp_path / "precious").write_text("mine")
    first, second = runs(tmp_path, 2)
    assert isinstance(first, ExistsError)
    assert isinstance(second, RankError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def failing(rank: int, step: int) -> Callable[[Distiller], None]:
    """Return what makes a process fail in a step."""

    def prepare(distiller: Distiller) -> None:
        real = distiller.step

        def fake(state):
            if (distiller.ranks.rank, state.step + 1) == (rank, step):
                raise OSError("the machine is gone")
            return real(state)

        distiller.step = fake  # type: ignore[method-assign]

    return prepare


def test_run_whose_process_died_continues(tmp_path: Path, runs) -> None:
    """Process 0 saves the last whole state, which two processes, or one, continue to the same bits."""
    runs(tmp_path / "whole")
    for size in (1, 2):
        path = tmp_path / f"cut{size}"
        first, second = runs(path, 2, prepare=failing(1, 4))
        assert isinstance(second, OSError)
        assert isinstance(first, RankError)
        assert f"{path / 'state.safetensors'} holds the state of step 3, from which --resume" in str(first)
        assert states.load(path / "state.safetensors").step == 3
        runs(path, size, resume=True)
        assert content(path) == content(tmp_path / "whole")


def test_death_of_process_0_ends_the_others(tmp_path: Path, runs) -> None:
    """They say so, and leave the files as they are."""
    first, second = runs(tmp_path / "run", 2, prepare=failing(0, 2))
    assert isinstance(first, OSError)
    assert isinstance(second, RankError)
    assert states.load(tmp_path / "run" / "state.safetensors").step == 1


def test_divergence_is_seen_by_all(tmp_path: Path, runs) -> None:
    """All end in the same step; only the one that saves says what is saved."""
    first, second = runs(tmp_path / "run", 2, replace(CONFIG, lr_lr=1e9))
    assert isinstance(first, DivergedError)
    assert isinstance(second, DivergedError)
    assert str(first).startswith(f"{second}; {tmp_path / 'run' / 'state.safetensors'} holds the state")

"""What a run tells beside its steps: notes, what it takes of the machine, a trace, and want of memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ExhaustedError, ExistsError, MissingError  # noqa: E402
from mct.events import Note, OuterStep  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.execution import Execution  # noqa: E402
from mct.settings.config import DistillConfig, EvaluateConfig  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=2, expert_steps=2, max_start=3, outer_steps=5, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02)  # fmt: skip
PROTOCOL = EvaluateConfig(networks=1, epochs=1)


@pytest.fixture
def distiller(network: networks.ConvNet, digits, model):
    """Return a function that makes a distiller of a small fake bundle."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    bundle = FakeBundle([0.1 * random_walk(layout, 6)], layout, knots=(2,))

    def make(config=CONFIG, **execution) -> Distiller:
        return Distiller(bundle, digits, model, config, artifact_sha256="ab" * 32,
                         execution=Execution(**execution))  # fmt: skip

    return make


def test_every_note_is_told_once(tmp_path: Path, distiller) -> None:
    """Those from before the first step and those of a step, each before the step it came with."""
    made = distiller()
    made.notes.append("early")
    real = made.step

    def step(state):
        if state.step >= 2:
            made.notes.append("late")
        return real(state)

    made.step = step
    events = list(distill(made, RunFolder(tmp_path / "run")))
    told = [event.line if isinstance(event, Note) else event.step for event in events]
    assert told == ["early", 1, 2, "late", 3, 4, 5]


def test_metrics_say_what_a_step_took(tmp_path: Path, distiller) -> None:
    """Time by part, that of evaluations apart; peak memory and use of the device."""
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, eval_every=2)
    events = [event for event in distill(distiller(config), folder, evaluation=PROTOCOL) if event.step]
    for event in events:
        parts = dict(event.parts)
        assert ("evaluate" in parts) == (event.accuracy is not None)
        parts.pop("evaluate", None)
        assert {"interpolate", "augment", "forward", "adjoint", "update"} <= set(parts)
        assert 0 < sum(parts.values()) <= event.seconds
        assert 10 < event.memory_mb < 1e6
        assert 0 < event.utilisation <= 1
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [line.get("parts") for line in lines if line["step"]] == [dict(event.parts) for event in events]


@pytest.mark.parametrize(("steps", "said"), [
    (5, "trace of outer steps 2 to 4"), (3, "trace of outer steps 2 to 3"), (1, "no trace")
])  # fmt: skip
def test_trace_of_some_steps(tmp_path: Path, distiller, steps: int, said: str) -> None:
    """Its file is announced, and opens as Chrome's format with what torch did."""
    path = tmp_path / "trace.json"
    run = distill(distiller(replace(CONFIG, outer_steps=steps), profile=path), RunFolder(tmp_path / "run"))
    (note,) = [event.line for event in run if isinstance(event, Note)]
    assert note.startswith(f"{path}: {said}")
    assert path.exists() == (steps > 1)
    if path.exists():
        names = {event["name"] for event in json.loads(path.read_text())["traceEvents"]}
        assert "aten::mul" in names


def test_trace_that_cannot_be_written_is_refused_at_once(tmp_path: Path, distiller) -> None:
    """Before a folder is made."""
    taken = tmp_path / "taken.json"
    taken.touch()
    for path, error in ((taken, ExistsError), (tmp_path / "absent" / "trace.json", MissingError)):
        with pytest.raises(error, match="another"):
            next(distill(distiller(profile=path), RunFolder(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU), MemoryError()],
    ids=["device", "cpu", "python"],
)
@pytest.mark.parametrize("keep", [0, 7])
def test_want_of_memory_says_what_to_lower(tmp_path: Path, distiller, error, keep: int) -> None:
    """The settings in the order in which to try them; the state before is saved."""
    made, folder = distiller(keep_mb=keep, step_images=5, knots_mb=9), RunFolder(tmp_path / "run")
    real = made.step

    def step(state):
        if state.step == 2:
            raise error
        return real(state)

    made.step = step
    with pytest.raises(ExhaustedError) as caught:
        list(distill(made, folder))
    ways = "--step-images (now 5), then --knots-mb (now 9)"
    first = f"--keep-mb (now {keep}), then " if keep else ""
    assert str(caught.value) == (
        f"outer step 3: not enough memory on cpu; lower {first}{ways}; {folder.state} holds the state of "
        "step 2, from which --resume continues"
    )
    assert states.load(folder.state).step == 2
    events = [event for event in distill(distiller(), folder, resume=True) if isinstance(event, OuterStep)]
    assert [event.step for event in events] == [3, 4, 5]


def test_other_errors_stay_what_they_are(tmp_path: Path, distiller) -> None:
    """A defect is no want of memory."""
    made = distiller()

    def step(_state):
        raise RuntimeError("a defect")

    made.step = step
    with pytest.raises(RuntimeError, match=r"^a defect$"):
        list(distill(made, RunFolder(tmp_path / "run")))

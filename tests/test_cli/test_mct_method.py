"""The commands `mct`: presets, pictures, evaluations during a run, and what is refused before any work."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result  # noqa: E402

RECIPE = ["--model", "ConvNetD2W4", "--experts", "1", "--epochs", "8"]
SMALL = ["--steps", "2", "--expert-steps", "2", "--max-start", "3", "--lr-img", "10", "--outer-steps", "4"]
QUICK = ["--eval-networks", "1", "--eval-epochs", "3"]
EVALUATED = [*SMALL, "--eval-every", "2", *QUICK]
SCRIPT = (
    "import sys; from importlib.metadata import entry_points; sys.argv[0] = 'mct';"
    "(script,) = entry_points(group='console_scripts', name='mct'); sys.exit(script.load()())"
)
PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    (entry,) = entry_points(group="console_scripts", name="mct")
    return CliRunner().invoke(entry.load(), [str(word) for word in arguments])


def done(*arguments: str | Path) -> Result:
    """Run `mct` and require success."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fails(code: int, message: str, *arguments: str | Path) -> None:
    """Require one line on stderr, nothing on stdout, and an exit code."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def metrics(folder: Path) -> list[dict[str, object]]:
    """Return the metrics of a run without what it took of the machine."""
    taken = {"seconds", "parts", "memory_mb", "utilisation"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in taken} for line in lines]


def arrays(path: Path, *, classes: int = 3, size: int = 8, seed: int = 0, last: int = 10) -> Path:
    """Write a small data set of `classes`, the last of which has `last` training images."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), [*[10] * (classes - 1), last])
    images = rng.random((len(labels), size, size, 3))
    path.parent.mkdir(exist_ok=True)
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small convex bundle of a digits expert; the full one of the same is beside it."""
    folder = tmp_path_factory.mktemp("experts")
    for name in ("one.mct", "one.mtt"):
        done("experts", "--dataset", "digits", *RECIPE, "--out", folder / name)
    return folder / "one.mct"


@pytest.fixture(scope="module")
def evaluated(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with evaluations."""
    out = tmp_path_factory.mktemp("runs") / "evaluated"
    result = done("distill", "--traj", bundle, "--out", out, *EVALUATED)
    assert result.stdout == f"{out / 'best.safetensors'}\n"
    assert "on held-out training images" in result.stderr
    return out


def test_presets_as_a_table_and_as_json() -> None:
    """Every preset is a row of the table and an object of its own; a source stands by every name."""
    table = done("presets").stdout
    rows = [json.loads(line) for line in done("presets", "--json").stdout.splitlines()]
    assert len({row["name"] for row in rows}) == len(rows) > 20
    assert all(f"{row['name']}: {row['source'][:20]}" in table for row in rows)
    assert all(any(line.split()[:1] == [row["name"]] for line in table.splitlines()) for row in rows)
    (row,) = [row for row in rows if row["name"] == "mct-cifar10-zca-ipc1"]
    assert (row["inner_steps"], row["expert_steps"], row["knots"]) == (50, 5, [6, 25])
    chosen = done("presets", "--dataset", "tiny", "--json").stdout.splitlines()
    assert {json.loads(line)["dataset"] for line in chosen} == {"Tiny"}
    fails(2, "there are some for CIFAR10, CIFAR100", "presets", "--dataset", "digits")


def test_preset_is_named(bundle: Path, tmp_path: Path) -> None:
    """Its settings are used where nothing else is said; one that is unknown is refused, also to resume."""
    out = tmp_path / "run"
    start = ["distill", "--traj", bundle, "--out", out]
    fails(2, "did you mean mct-cifar10-ipc1", *start, "--preset", "mct-cifar10-ipc")
    fails(2, "ends at timestep 8", *start, "--preset", "mct-cifar10-ipc10")
    assert not out.exists()
    settings_of = ["--augment", "none", *SMALL]
    named = [*start, "--preset", "mct-cifar10-ipc10", *settings_of]
    done(*named)
    settings = json.loads((out / "settings.json").read_text())["settings"]["config"]
    assert (settings["ipc"], settings["lr_lr"], settings["lr_img"]) == (10, 1e-5, 10.0)
    fails(2, "unknown preset 'none'", *start, "--resume", "--preset", "none")
    done(*named, "--resume")
    fails(
        1,
        "the run has --ipc 10, now it is 1; omit --ipc",
        *start,
        *settings_of,
        "--resume",
        "--preset",
        "mct-cifar10-ipc1",
    )


def test_curve(evaluated: Path, tmp_path: Path) -> None:
    """One picture of several runs, the convergence points on stderr; nothing is overwritten unasked."""
    path = tmp_path / "curve.png"
    other = shutil.copytree(evaluated, tmp_path / "other")
    result = done("plot", "curve", evaluated, other, "-o", path)
    assert result.stdout == f"{path}\n"
    assert [line.partition(": converged at step ")[0] for line in result.stderr.splitlines()] == [
        "evaluated",
        "other",
    ]
    assert path.read_bytes().startswith(PNG)
    path.write_bytes(b"mine")
    fails(2, "--force", "plot", "curve", evaluated, "-o", path)
    assert path.read_bytes() == b"mine"
    done("plot", "curve", evaluated, "-o", path, "--force")
    assert path.read_bytes().startswith(PNG)


def test_convergence_and_images(evaluated: Path, bundle: Path, tmp_path: Path) -> None:
    """Bars of the same steps, and the images with their classes; what holds no images is refused."""
    path, numbers = tmp_path / "bars.svg", tmp_path / "bars.csv"
    result = done("plot", "convergence", evaluated, "-o", path, "-o", numbers)
    assert result.stdout == f"{path}\n{numbers}\n"
    step = numbers.read_text().splitlines()[1].split(",")[1]
    assert f"evaluated: converged at step {step} (" in result.stderr
    assert "the run has done" not in result.stderr
    open_run = shutil.copytree(evaluated, tmp_path / "open")
    facts = json.loads((open_run / "settings.json").read_bytes())
    facts["settings"]["config"]["outer_steps"] = 5000
    (open_run / "settings.json").write_text(json.dumps(facts))
    result = done("plot", "convergence", open_run, "-o", tmp_path / "open.svg")
    assert re.search(r"open: converged at step .*; the run has done \d of 5,000 outer steps", result.stderr)
    picture, pixels = tmp_path / "images.pdf", tmp_path / "images.csv"
    done("plot", "images", evaluated, "-o", picture, "-o", pixels)
    assert picture.read_bytes().startswith(b"%PDF-")
    assert [line.split(",")[2] for line in pixels.read_text().splitlines()[1:]] == [str(k) for k in range(10)]
    fails(
        2,
        "--per-class must be >= 1",
        "plot",
        "images",
        evaluated,
        "--per-class",
        "0",
        "-o",
        tmp_path / "a.png",
    )
    fails(2, "contains no synthetic.safetensors", "plot", "images", bundle, "-o", tmp_path / "a.png")


def test_curve_of_what_is_no_evaluated_run(evaluated: Path, tmp_path: Path) -> None:
    """The picture is not begun."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "metrics.jsonl").write_text('{"step": 1}\n')
    path = tmp_path / "curve.png"
    fails(3, "run mct distill with --eval-every", "plot", "curve", evaluated, bare, "-o", path)
    fails(2, "no such folder", "plot", "curve", tmp_path / "absent", "-o", path)
    (bare / "metrics.jsonl").write_text("no JSON\n")
    fails(4, "line 1", "plot", "curve", bare, "-o", path)
    fails(2, "end its name in .png", "plot", "curve", evaluated, "-o", tmp_path / "curve.jpg")
    fails(2, "no such folder", "plot", "curve", evaluated, "-o", tmp_path / "absent" / "curve.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["bare"]


def test_along(bundle: Path, tmp_path: Path) -> None:
    """With the original beside it, over time and on the plane."""
    path = tmp_path / "along.png"
    numbers = tmp_path / "along.csv"
    words = ["plot", "along", bundle, "--points", "3", "--images", "20", "-o", path]
    result = done(*words, "-o", numbers)
    assert (result.stdout, result.stderr) == (f"{path}\n{numbers}\n", "")
    assert numbers.read_text().count("convexified,") == 3
    fails(2, "--force", *words)
    first = path.read_bytes()
    done(*words, "--original", bundle.with_name("one.mtt"), "--landscape", "--force")
    assert path.read_bytes().startswith(PNG)
    assert path.read_bytes() != first


def test_along_what_does_not_fit(bundle: Path, tmp_path: Path) -> None:
    """Every mistake is said before a network is tested."""
    words = ["plot", "along", bundle, "-o", tmp_path / "along.png"]
    fails(2, "must be a full bundle", *words, "--original", bundle)
    fails(2, "trajectory must lie in [0, 0]", *words, "--trajectory", "1")
    fails(2, "--points must be >= 2", *words, "--points", "1")
    fails(2, "--images must be >= 1", *words, "--images", "0")
    fails(1, "--model says 'ConvNetD2W8'", *words, "--model", "ConvNetD2W8")
    fails(1, "dataset 'digits', --dataset says 'MNIST'", *words, "--dataset", "MNIST")
    assert list(tmp_path.iterdir()) == []


def test_cross_is_refused_before_anything_is_trained(evaluated: Path, monkeypatch) -> None:
    """Images that are too small for the other architectures cost no evaluation first."""

    def train(*_: object, **__: object) -> None:
        raise AssertionError("a network was trained")

    monkeypatch.setattr("mct.evaluation.protocols.mtt.learners", train)
    said = (
        "there is nothing to compare across architectures: AlexNet (28 to 35 pixels), VGG11 (28 to 59 "
        "pixels), ResNet18 (25 to 56 pixels) do not take images of 8x8 pixels; evaluate another network"
    )
    result = run("evaluate", evaluated, "--cross")
    assert (result.exit_code, result.stdout) == (2, "")
    note, error = result.stderr.splitlines()  # which images of the run are evaluated, and why they are not
    assert note.startswith("note: ")
    assert error.startswith("error: ")
    assert said in error


def test_evaluations_during_a_run(evaluated: Path) -> None:
    """Before the first step, every second, and the last; the best is kept with its reason."""
    from mct.results.synthetic import load

    tested = {line["step"]: line["accuracy"] for line in metrics(evaluated) if "accuracy" in line}
    assert list(tested) == [0, 2, 4]
    means = {step: accuracy["mean"] for step, accuracy in tested.items()}
    best = load(evaluated / "best.safetensors").origin
    assert (best.selected.on, best.selected.mean) == ("heldout", max(means.values()))
    assert best.outer_step == next(step for step, mean in means.items() if mean == max(means.values()))
    facts = json.loads(
        done("evaluate", evaluated, "--networks", "1", "--epochs", "1", "--no-baseline", "--json").stdout
    )
    assert facts["config"]["augment"] == "none"


def test_selection_on_the_test_set_says_so(bundle: Path, tmp_path: Path) -> None:
    """The published convention, named as what it is; a resumed run that is done says the same."""
    words = ["distill", "--traj", bundle, "--out", tmp_path / "run", *EVALUATED, "--select", "test"]
    for again in ([], ["--resume"]):
        result = done(*words, *again)
        assert result.stdout == f"{tmp_path / 'run' / 'best.safetensors'}\n"
        assert "the maximum over evaluations on the test set, as published numbers are" in result.stderr


def test_teacher_labels(bundle: Path, tmp_path: Path) -> None:
    """The result carries the distributions that its networks are trained with."""
    from mct.results.synthetic import load

    out = tmp_path / "run"
    done("distill", "--traj", bundle, "--out", out, *SMALL, "--labels", "teacher", "--sampling", "discrete")
    found = load(out / "synthetic.safetensors")
    assert found.soft_labels is not None
    assert np.allclose(found.soft_labels.sum(1), 1)
    assert all(line["start"] % 1 == 0 for line in metrics(out))
    done("evaluate", out, "--networks", "1", "--epochs", "1", "--no-baseline")


def test_resume_keeps_the_protocol(evaluated: Path, bundle: Path, tmp_path: Path) -> None:
    """What is not said again stays; another protocol is refused with the setting that differs."""
    out = shutil.copytree(evaluated, tmp_path / "run")
    words = ["distill", "--traj", bundle, "--out", out, "--resume"]
    done(*words, "--eval-networks", "1", "--outer-steps", "5")
    assert metrics(out)[-1]["step"] == 5
    fails(1, "--eval-networks 1, now 2; accuracies", *words, "--eval-networks", "2")
    other = [bundle.with_name("one.mtt") if word == bundle else word for word in words]
    fails(1, "`artifact_sha256`", *other, "--sampling", "auto")


def test_interrupted_run_equals_a_whole_one(bundle: Path, tmp_path: Path) -> None:
    """Two real Ctrl-C, then --resume: the files of a run that nobody stopped, bit for bit."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["distill", "--traj", bundle, *SMALL[:-1], "40", "--eval-every", "5", *QUICK, "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, [*words, cut])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    found = cut / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if found.is_file() and found.read_bytes().count(b"\n") > 7:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert 7 < len(metrics(cut)) < 41
    done(*words, cut, "--resume")
    done(*words, whole)
    assert metrics(cut) == metrics(whole)
    assert sorted(os.listdir(cut)) == sorted(os.listdir(whole))
    for name in ("synthetic", "best", "state"):
        ours, theirs = ((folder / f"{name}.safetensors").read_bytes() for folder in (cut, whole))
        assert ours == theirs, name


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
def test_other_images_under_the_same_name_are_refused(tmp_path: Path, kind: str) -> None:
    """Every preprocessing records the images that the experts saw."""
    own = arrays(tmp_path / "own" / "mine.npz")
    path, out = tmp_path / "experts.mct", tmp_path / "run"
    done("experts", "--dataset", own, "--out", path, "--model", "ConvNetD1W4", "--experts", "1",
         "--epochs", "6", "--preprocessing", kind)  # fmt: skip
    words = ["distill", "--traj", path, "--out", out, *SMALL, "--dataset"]
    fewer = arrays(tmp_path / "a" / "mine.npz", classes=2)
    larger = arrays(tmp_path / "b" / "mine.npz", size=16)
    others = arrays(tmp_path / "c" / "mine.npz", seed=1)
    for images in (fewer, larger, others):
        fails(1, "the training images have the hash", *words, images)
    assert not out.exists()
    done(*words, own)
    fails(1, "the experts saw", "evaluate", out, "--dataset", others)


def test_class_with_too_few_images(tmp_path: Path) -> None:
    """The class that is short is not the first."""
    data = arrays(tmp_path / "few.npz", last=4)
    done("experts", "--dataset", data, "--out", tmp_path / "few.mct", "--model", "ConvNetD1W4",
         "--experts", "1", "--epochs", "6")  # fmt: skip
    words = ["distill", "--traj", tmp_path / "few.mct", "--out", tmp_path / "run", "--dataset", data, *SMALL]
    fails(2, "class '2' has only 3 training images besides the held-out ones", *words, "--ipc", "4")
    done(*words, "--ipc", "4", "--select", "test")


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "Tiny", "MNIST", "FashionMNIST"])
def test_missing_data_set(tmp_path: Path, name: str) -> None:
    """What was looked for, where, who publishes it, and what to do."""
    words = ["experts", "--dataset", name, "--data", tmp_path, "--out", tmp_path / "x.mct"]
    for message in (f"the dataset {name} was not found: looked for", "published at http", "--data"):
        fails(2, message, *words)
    assert list(tmp_path.iterdir()) == []


def test_experts_that_could_not_be_kept(tmp_path: Path, monkeypatch) -> None:
    """Too few timesteps, or a disk that is too small, are said before the first epoch."""

    words = ["experts", "--dataset", "digits", *RECIPE, "--out", tmp_path / "x.mct"]
    fails(2, "only 176 steps", *words, "--steps-per-timestep", "177")
    fails(2, "no such file", *("absent.npz" if word == "digits" else word for word in words))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr("mct.experts.run.train_experts", lambda *_, **__: pytest.fail("trained"))
    fails(1, "MB are free; make room", *words)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_saving(bundle: Path, tmp_path: Path) -> None:
    """One line that names the file; nothing half-written stays."""
    out = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        result = run("distill", "--traj", bundle, "--out", out, *SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line == f"error: {out / 'state.safetensors'}: File too large; nothing was saved"
    assert list(out.iterdir()) == []

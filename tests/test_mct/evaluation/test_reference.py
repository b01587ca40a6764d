"""The reference network: trained once, kept, continued after an interruption, and never mistaken."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError, MismatchError, ResultError  # noqa: E402
from mct.evaluation import reference  # noqa: E402
from mct.evaluation.protocol import accuracy_of  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402
from mct.runtime.ranks import Alone  # noqa: E402
from mct.settings.ranking import ReferenceConfig  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402

CONFIG = ReferenceConfig(epochs=3, batch_size=40, lr=0.05, step_size=2, test_every=2)


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """Return digits with few images."""
    return replace(
        digits, train_images=digits.train_images[:100], train_labels=digits.train_labels[:100],
        test_images=digits.test_images[:50], test_labels=digits.test_labels[:50],
    )  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    """Return an empty cache folder."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["ConvNetD1W4", "ConvNetD1W4BN"])
@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_training_gives_the_same_network(
    few: Dataset, tmp_path: Path, name: str, after: int, monkeypatch
) -> None:
    """Weights, momentum and the best test continue from the file, bit for bit."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    whole, other = tmp_path / "whole.safetensors", tmp_path / "other.safetensors"
    events, found = drain(reference.obtain(few, model, CONFIG, path=whole, ranks=Alone()))
    assert [event.epoch for event in events] == [1, 2, 3]
    monkeypatch.setattr(reference, "_PAUSE", 0.0)
    stopped = reference.obtain(few, model, CONFIG, path=other, ranks=Alone())
    for _ in range(after):
        next(stopped)
    stopped.close()
    events, again = drain(reference.obtain(few, model, CONFIG, path=other, ranks=Alone()))
    assert [event.epoch for event in events] == [1, 2, 3][after:]
    assert whole.read_bytes() == other.read_bytes()
    assert found.accuracy == again.accuracy == accuracy_of(again.network, few.test_images, few.test_labels)
    assert found.accuracy > 0


def test_the_best_weights_are_kept(few: Dataset, tmp_path: Path, model, monkeypatch) -> None:
    """A later and worse test changes nothing."""
    tests = iter([0.8, 0.3])
    monkeypatch.setattr(reference, "accuracy_of", lambda *_: next(tests))
    job = reference.obtain(few, model, CONFIG, path=tmp_path / "a.safetensors", ranks=Alone())
    second = [next(job), next(job)][1]
    assert (second.epoch, second.accuracy) == (2, 0.8)
    _, found = drain(job)
    assert found.accuracy == 0.8
    short = replace(CONFIG, epochs=2)
    monkeypatch.setattr(reference, "accuracy_of", lambda *_: 0.8)
    _, same = drain(reference.obtain(few, model, short, path=tmp_path / "b.safetensors", ranks=Alone()))
    for name, value in same.network.state_dict().items():
        assert torch.equal(value, found.network.state_dict()[name])


def test_labels_are_those_of_the_network(few: Dataset, tmp_path: Path, model) -> None:
    """Logits in blocks, their softmax, and no gradient."""
    _, found = drain(reference.obtain(few, model, CONFIG, path=tmp_path / "a.safetensors", ranks=Alone()))
    images = torch.cat([few.train_images] * 3)
    assert torch.allclose(found.logits(images), found.network(images), atol=1e-5)
    assert torch.allclose(found.probabilities(images), found.network(images).softmax(1), atol=1e-5)
    assert not found.logits(images).requires_grad


def test_the_cache_is_used_and_may_be_damaged(few: Dataset, cache: Path, model) -> None:
    """The second call trains nothing. A damaged file in the cache is trained again."""
    assert not reference.is_ready(few, model, CONFIG)
    events, found = drain(reference.obtain(few, model, CONFIG, ranks=Alone()))
    assert len(events) == 3
    assert reference.is_ready(few, model, CONFIG)
    events, again = drain(reference.obtain(few, model, CONFIG, ranks=Alone()))
    assert (events, again.accuracy) == ([], found.accuracy)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert len(drain(reference.obtain(few, model, CONFIG, ranks=Alone()))[0]) == 3


def test_another_file_is_refused_and_left_alone(few: Dataset, tmp_path: Path, model) -> None:
    """The error names what differs; a file that is something else is not overwritten."""
    path = tmp_path / "a.safetensors"
    drain(reference.obtain(few, model, CONFIG, path=path, ranks=Alone()))
    before = path.read_bytes()
    with pytest.raises(MismatchError, match="differs in epochs: for epochs, expected 4, found 3"):
        drain(reference.obtain(few, model, replace(CONFIG, epochs=4), path=path, ranks=Alone()))
    with pytest.raises(MismatchError, match="labels_sha256"):
        drain(reference.obtain(replace(few, labels_sha256="0"), model, CONFIG, path=path, ranks=Alone()))
    assert path.read_bytes() == before
    tensorfile.save(path, {}, {"kind": "other", "version": 1})
    with pytest.raises(ResultError, match="expected a reference network"):
        drain(reference.obtain(few, model, CONFIG, path=path, ranks=Alone()))


def test_several_processes_need_a_trained_network(few: Dataset, tmp_path: Path, model) -> None:
    """Only one process trains it; several can read it."""

    class Two(Alone):
        size = 2

    path = tmp_path / "a.safetensors"
    with pytest.raises(ConfigError, match="one process does"):
        drain(reference.obtain(few, model, CONFIG, path=path, ranks=Two()))
    drain(reference.obtain(few, model, CONFIG, path=path, ranks=Alone()))
    assert drain(reference.obtain(few, model, CONFIG, path=path, ranks=Two()))[0] == []

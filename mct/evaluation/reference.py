"""The reference network: trained on all real images, it gives their accuracy and labels random images as a
teacher.

Training it takes long, so it is kept in a file: one that the user names, or one in the cache whose name is
the hash of everything that it depends on. The file is also written while the network is trained, and training
continues from it.
"""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from torch import Tensor, nn

import trajfmt
from mct.data.datasets import Dataset
from mct.errors import ConfigError, MctError, MismatchError, MissingError
from mct.evaluation.protocol import accuracy_of
from mct.evaluation.students import Student, rate_at
from mct.events import ReferenceEpoch
from mct.models import networks
from mct.runtime import tensorfile
from mct.runtime.ranks import Ranks
from mct.runtime.seeds import generator
from mct.settings.ranking import ReferenceConfig
from mct.training.loader import Loader
from trajfmt.storage import cache_folder

_KIND: Final = "reference network"

_PAUSE: Final = 30.0
"""Shortest time in seconds between two saves during training."""

_BLOCK: Final = 256
"""Images that the network labels at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A network that was trained on all real images."""

    network: nn.Module
    """The network with the weights of its best test, in evaluation mode."""

    accuracy: float
    """Its accuracy on the test set, in [0, 1]."""

    config: ReferenceConfig
    """The settings of its training."""

    def logits(self, images: Tensor) -> Tensor:
        """Return its logits `(B, K)` for `images` `(B, C, H, W)`, without gradients."""
        with torch.no_grad():
            return torch.cat([self.network(block) for block in torch.split(images, _BLOCK)])

    def probabilities(self, images: Tensor) -> Tensor:
        """Return its class probabilities `(B, K)` for `images` `(B, C, H, W)`, without gradients."""
        return self.logits(images).softmax(1)


def identity(dataset: Dataset, model: trajfmt.Model, config: ReferenceConfig) -> dict[str, Any]:
    """Return everything on which a reference network depends, as plain values."""
    return {
        "dataset": dataset.name,
        "preprocessing": msgspec.to_builtins(dataset.transform.record),
        "labels_sha256": dataset.labels_sha256,
        "test_sha256": dataset.test_sha256,
        "model": msgspec.to_builtins(model),
        "model_source_sha256": networks.source_sha256(model),
        **dataclasses.asdict(config),
    }


def cached_path(facts: Mapping[str, Any]) -> Path | None:
    """Return the file in the cache for the facts of `identity`; None if the user has no cache folder."""
    folder = cache_folder()
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return None if folder is None else folder / f"reference-{name}.safetensors"


def is_ready(dataset: Dataset, model: trajfmt.Model, config: ReferenceConfig) -> bool:
    """Return whether the cache contains this reference network, trained to the end."""
    path = cached_path(identity(dataset, model, config))
    with contextlib.suppress(MctError, OSError):
        return path is not None and bool(tensorfile.load(path, kind=_KIND, version=1)[1]["done"])
    return False


def obtain(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ReferenceConfig,
    *,
    path: Path | None = None,
    ranks: Ranks,
) -> Generator[ReferenceEpoch, None, Reference]:
    """Load a reference network, or train it, continuing from where an earlier training was interrupted.

    Args:
        dataset: The real dataset, on the device of the training.
        model: The network.
        config: Settings of its training.
        path: The file of the network, which is created if it does not exist; None for one in the cache. A
            cache that cannot be read or written is not an error.
        ranks: The processes of the evaluation. Only one that is alone can train.

    Returns:
        A generator that yields every epoch that is trained, and returns the network.

    Raises:
        ConfigError: If the network is not trained yet, and there are several processes.
        MismatchError: If the file is that of another dataset, network or training.
        MissingError: If the folder of `path` does not exist.
        MctError: If the file `path` is something else, or damaged.
        OSError: If `path` cannot be written.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        found = "a folder" if path.is_dir() else "no such folder"
        raise MissingError(
            f"{path}: expected a file in an existing folder, found {found}; give another file for the "
            "reference network"
        )
    facts = identity(dataset, model, config)
    place = cached_path(facts) if path is None else path
    device = dataset.train_images.device
    network = networks.build(model, generator=generator(config.seed, "reference"), device=device)
    state = _State(network, config)
    if place is not None and (path is None or place.exists()):
        with contextlib.suppress(*((MctError, OSError) if path is None else ())):
            state.load(place, facts, device)
    if state.epoch < config.epochs:
        if ranks.size > 1:
            raise ConfigError(
                "the reference network is not trained yet, which one process does; run the same command "
                "without torchrun first, or with --reference and the file of a trained one"
            )
        if path is not None:  # finds out now whether it can be written
            state.save(path, facts)
        yield from _train(state, dataset, model, _Saver(place, facts, required=path is not None))
    network.load_state_dict(state.best)
    network.eval().requires_grad_(False)
    return Reference(network=network, accuracy=state.accuracy, config=config)


class _State:
    """A training after some epochs."""

    def __init__(self, network: nn.Module, config: ReferenceConfig) -> None:
        self.student = Student(network, momentum=config.momentum, weight_decay=config.weight_decay)
        self.config, self.epoch, self.accuracy = config, 0, 0.0
        self.best = self._weights()

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.student.network.state_dict().items()}

    def keep(self, accuracy: float) -> None:
        """Keep the weights if they are better than all before."""
        if accuracy > self.accuracy:
            self.accuracy, self.best = accuracy, self._weights()

    def load(self, path: Path, facts: Mapping[str, Any], device: torch.device) -> None:
        """Continue from a file.

        Raises:
            MismatchError: If the file has other facts.
            MctError: If it is something else, or damaged.
        """
        tensors, found = tensorfile.load(path, kind=_KIND, version=1)
        if found["identity"] != json.loads(json.dumps(facts)):
            differing = sorted(name for name in facts if found["identity"].get(name) != facts[name])
            name = differing[0] if differing else "version"
            raise MismatchError(
                f"{path}: this reference network differs in {', '.join(differing)}: for {name}, expected "
                f"{facts.get(name)!r}, found {found['identity'].get(name)!r}; give the same settings, or "
                "another file"
            )
        parts: dict[str, dict[str, Tensor]] = {"best": {}, "now": {}, "momentum": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor.to(device)
        self.epoch, self.accuracy, self.best = found["epoch"], found["accuracy"], parts["best"]
        if not found["done"]:
            self.student.network.load_state_dict(parts["now"])
            for name, value in self.student.network.named_parameters():
                if name in parts["momentum"]:
                    self.student.optimizer.state[value]["momentum_buffer"] = parts["momentum"][name]

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write everything from which training can continue; after the last epoch, only the best weights."""
        done = self.epoch == self.config.epochs
        tensors = {f"best.{name}": value for name, value in self.best.items()}
        if not done:
            tensors |= {f"now.{name}": value for name, value in self._weights().items()}
            for name, value in self.student.network.named_parameters():
                buffer = self.student.optimizer.state[value].get("momentum_buffer")
                if buffer is not None:
                    tensors[f"momentum.{name}"] = buffer
        values = {"epoch": self.epoch, "accuracy": self.accuracy, "done": done}
        tensorfile.save(path, tensors, {"kind": _KIND, "version": 1, "identity": dict(facts), **values})


class _Saver:
    """Saves a training from time to time, and at its end."""

    def __init__(self, path: Path | None, facts: Mapping[str, Any], *, required: bool) -> None:
        self._path, self._facts, self._required = path, facts, required
        self._saved = time.monotonic()

    def __call__(self, state: _State, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Save if the training is at its end, or the last save is long ago."""
        due = state.epoch == state.config.epochs or clock() - self._saved >= _PAUSE
        if self._path is None or not due:
            return
        try:
            if not self._required:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            state.save(self._path, self._facts)
        except OSError:
            if self._required:
                raise
        self._saved = clock()


def _train(
    state: _State, dataset: Dataset, model: trajfmt.Model, save: _Saver
) -> Generator[ReferenceEpoch, None, None]:
    """Train to the last epoch. The random numbers of an epoch depend on its number alone."""
    config = state.config
    loader = Loader(
        dataset.train_images,
        dataset.train_labels,
        classes=model.classes,
        size=config.batch_size,
        augment=None,
    )
    for epoch in range(state.epoch, config.epochs):
        random = generator(config.seed, "reference", "epoch", epoch)
        rate = rate_at(epoch, config.lr, schedule="step", step_size=config.step_size, epochs=config.epochs)
        state.student.learn(loader.batches(1, random), rate)
        state.epoch = epoch + 1
        if state.epoch % config.test_every == 0 or state.epoch == config.epochs:
            state.keep(accuracy_of(state.student.network, dataset.test_images, dataset.test_labels))
        save(state)
        yield ReferenceEpoch(epoch=state.epoch, epochs=config.epochs, accuracy=state.accuracy)

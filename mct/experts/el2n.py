"""EL2N scores: how difficult the training images are for the experts of an existing bundle.

`mct.models.el2n` computes them. A convexified trajectory gives its point at timestep 10.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import trajfmt
from mct.data.datasets import Dataset
from mct.data.difficulty import Order, ordered
from mct.errors import ConfigError
from mct.models import networks
from mct.models.el2n import EXPERTS, NAME, TIMESTEP, scores
from mct.runtime.phases import phase
from mct.runtime.seeds import generator
from mct.trajectories import provenance
from trajfmt.bundle import numbering_of
from trajfmt.schema import numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """The order by the scores that are computed with the experts of a bundle."""

    place: str | Path
    """The bundle."""

    dataset: Dataset
    """The dataset as these experts saw it."""

    network: nn.Module
    """Their network, on the device that computes."""

    experts: int
    """Number of experts."""

    sha256: str
    """Hash of the digests of their trajectories."""

    @property
    def facts(self) -> Mapping[str, str | int]:
        """Return what a bundle records: the experts, and not the order, which depends on rounding."""
        return {
            "scores": NAME,
            "scores_sha256": self.sha256,
            "scores_timestep": TIMESTEP,
            "scores_experts": self.experts,
        }

    def scores(self) -> Tensor:
        """Compute the scores of the training images, `(N,)` float64 on the CPU."""
        images, labels = self.dataset.train_images, self.dataset.train_labels
        with trajfmt.open(self.place) as bundle, phase("scoring the training images"):
            return scores(self.network, self._weights(bundle), images, labels)

    def order(self) -> Order:
        """Compute the scores, and return the images of each class, the easiest first."""
        return ordered(self.scores(), self.dataset.train_labels, self.dataset.classes)

    def _weights(self, bundle: trajfmt.Bundle) -> Iterator[Tensor]:
        for number in range(self.experts):
            yield torch.from_numpy(np.asarray(bundle[number].at(TIMESTEP), np.float32))


def of_bundle(
    place: str | Path,
    dataset: Dataset,
    *,
    name: str | Path,
    root: Path | None = None,
    preprocessing: str | None = None,
    model: str | None = None,
    device: torch.device,
) -> Computed:
    """Return the order by EL2N for the experts of a bundle, all of which is checked here.

    Args:
        place: The bundle.
        dataset: The dataset whose training images are scored. If the experts of the bundle saw it with
            another preprocessing, it is loaded again with theirs.
        name: Name or path from which it was loaded.
        root: Folder of the files of datasets.
        preprocessing: Kind of preprocessing, used if the bundle states none.
        model: Name of the network, used if the bundle does not state it.
        device: Device that computes.

    Raises:
        ConfigError: If the trajectories end before timestep 10, or do not define what their networks compute.
        MismatchError: If the bundle belongs to another dataset.
        TrajfmtError: If it cannot be read.
    """
    with trajfmt.open(place) as bundle:
        about = numbering_of(bundle.manifest)
        if not about.counts_epochs:
            raise ConfigError(
                f"{place}: EL2N scores are of epoch {TIMESTEP}, but the timesteps of the bundle are "
                f"{about.words}; give a bundle whose timesteps are epochs from the initialisation, or a file "
                "of scores"
            )
        count = min(EXPERTS, len(bundle))
        last = min((bundle[number].last for number in range(count)), default=0)
        if last < TIMESTEP:
            raise ConfigError(
                f"{place}: EL2N scores are of timestep {TIMESTEP}, but a trajectory ends at timestep {last}; "
                "give a bundle of longer training, or a file of scores"
            )
        real = _seen(bundle.provenance, dataset, name=name, root=root, preprocessing=preprocessing)
        entries = numbered(bundle.manifest)
        digests = "".join(entries[number].digest for number in range(count))
        return Computed(
            place=place,
            dataset=real,
            network=_network(bundle, real, model, device),
            experts=count,
            sha256=hashlib.sha256(digests.encode()).hexdigest(),
        )


def _network(bundle: trajfmt.Bundle, dataset: Dataset, name: str | None, device: torch.device) -> nn.Module:
    """Return a network of the experts of a bundle."""
    known = bundle.provenance.model
    told = known is not None and known.factory is None and not networks.unknown(known)
    model = provenance.model_of(bundle.provenance, dataset, name=None if told else name)
    network = networks.build(model, generator=generator(0), device=device)
    networks.check_layout(network, bundle.layout)
    if any(True for _ in network.buffers()):
        raise ConfigError(
            f"{bundle.place}: its networks have buffers, such as running statistics, which trajectories do "
            "not contain, so EL2N scores cannot be computed; give a file of scores"
        )
    return network


def _seen(
    record: trajfmt.Provenance,
    dataset: Dataset,
    *,
    name: str | Path,
    root: Path | None,
    preprocessing: str | None,
) -> Dataset:
    """Return the dataset as the experts of a bundle saw it."""
    stated, own = record.preprocessing, dataset.transform.record
    labels = (record.recipe or {}).get("labels_sha256")
    if (
        record.dataset == dataset.name
        and stated is not None
        and all(getattr(stated, field) in (None, getattr(own, field)) for field in stated.__struct_fields__)
        and labels in (None, dataset.labels_sha256)
    ):
        return dataset
    kind = preprocessing if stated is None else None
    real = provenance.dataset_of(record, name=str(name), preprocessing=kind, root=root)
    return real if dataset.limit is None else real.limited(dataset.limit)

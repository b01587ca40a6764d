"""The layout `mct`: a `.safetensors` file of mct, or the folder of a distillation run."""

from pathlib import Path

from mct.results import files, synthetic
from mct.results.origin import ForeignOrigin, Origin
from mct.results.synthetic import BEST_NAME, RESULT_NAME
from mct.sets import tensors
from mct.sets.base import DistilledSet, FileLayout, Reading
from trajfmt.schema import models

SUFFIX = ".safetensors"


def _file(path: Path) -> Path | None:
    if not path.is_dir():
        return path if path.suffix == SUFFIX else None
    return next((path / name for name in (BEST_NAME, RESULT_NAME) if (path / name).is_file()), None)


def recognise(path: Path) -> str | None:
    """Return why a path has this layout, or None if it has another."""
    found = _file(path)
    return None if found is None else f"{found.name} is a file of mct"


def read(path: Path, _how: Reading) -> DistilledSet:
    """Read a file of mct, or from the folder of a run the best images if there are any, else the last ones.

    Raises:
        MissingError: If the folder contains no result.
        MctError: If the file is not a synthetic dataset, or damaged.
    """
    place = files.result_file(path)
    found = synthetic.load(place)
    origin = found.origin
    soft = found.soft_labels is not None
    return DistilledSet(
        images=found.images,
        labels=found.labels if found.probabilities is None else found.probabilities,
        meaning="probabilities" if soft else "classes",
        files=(tensors.source(place),),
        learning_rate=found.learning_rate,
        dataset=origin.dataset,
        model=models.model_name(origin.model),
        preprocessing=origin.preprocessing,
        classes=len(origin.class_names),
        known_from=dict.fromkeys(("learning_rate", "dataset", "model", "preprocessing"), "file"),
        remarks=(f"read from the layout {origin.layout}",) if isinstance(origin, ForeignOrigin) else (),
        synthetic=found,
    )


def chosen(found: DistilledSet) -> str | None:
    """Return which images of a run were read, if it also has others: those of its last outer step."""
    origin = None if found.synthetic is None else found.synthetic.origin
    if not isinstance(origin, Origin) or found.files[0].name != BEST_NAME:
        return None
    real = ", which are those that the run began with" if origin.outer_step == 0 else ""
    return (
        f"the images are those of {BEST_NAME}, of outer step {origin.outer_step}{real}; {RESULT_NAME} has "
        "those of the last step"
    )


LAYOUT = FileLayout(
    name="mct",
    title="mct: images, labels, learning rate, origin, and the inverse of the preprocessing",
    files="NAME.safetensors, or the folder of a run",
    recognise=recognise,
    read=read,
)

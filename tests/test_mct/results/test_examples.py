"""Synthetic images in a `DataLoader`."""

import pickle
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from tests.helpers.made import made  # noqa: E402


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_workers_deliver_every_example(digits: Dataset) -> None:
    """Batches of two worker processes, in order, are the images and labels of the set."""
    synthetic = made(digits, ipc=2)
    loader = torch.utils.data.DataLoader(synthetic.dataset(), batch_size=6, num_workers=2)
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(images, synthetic.images)
    assert torch.equal(labels, synthetic.labels)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_soft_labels_and_transform(digits: Dataset) -> None:
    """Labels are those that networks are trained on; a transform sees one preprocessed image."""
    start = made(digits)
    soft = torch.eye(10).repeat(2, 1)[: len(start.labels)]
    examples = replace(start, soft_labels=soft).dataset(transform=lambda image: image.flip(-1))
    image, label = examples[-1]
    assert torch.equal(image, start.images[-1].flip(-1))
    assert torch.equal(label, soft[-1])
    with pytest.raises(IndexError):
        examples[len(examples)]


def test_state_of_the_preprocessing_is_told(digits: Dataset) -> None:
    """With it, test images can be prepared alike; it survives the way to another process."""
    start = made(digits)
    images = replace(start, images=start.images.clone().requires_grad_())
    examples = pickle.loads(pickle.dumps(images.dataset()))
    assert examples.preprocessing == digits.transform.record
    assert examples.class_names == digits.class_names
    assert not examples.images.requires_grad
    assert repr(examples) == f"<mct Examples: {len(start.labels)} images 1×8×8, normalize>"

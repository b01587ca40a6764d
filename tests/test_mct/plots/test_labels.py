"""Learned labels as a map of probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")

from mct.errors import ConfigError  # noqa: E402
from mct.plots.labels import Labels, labels  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from trajfmt.plots import render  # noqa: E402


@pytest.mark.parametrize(("classes", "ipc"), [(3, 2), (60, 1)])
def test_rows_are_sorted_by_class_and_hold_the_probabilities(classes: int, ipc: int) -> None:
    """Names are shown where there is room for them, and no name is a formula."""
    order = np.random.default_rng(0).permutation(classes * ipc)
    rows = torch.randn(classes * ipc, classes, generator=generator(0)).softmax(1).numpy()
    names = tuple(f"$name {label}" for label in range(classes))
    plot = Labels(probabilities=rows, labels=order // ipc, class_names=names, dataset="pets")
    figure = figures.Figure(figsize=plot.size)
    plot.paint(figure)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(shown, rows[np.argsort(order // ipc, kind="stable")])
    texts = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert (texts == list(names)) == (classes == 3)
    table = plot.table()
    assert len(table.rows) == classes * ipc * classes
    assert table.rows[classes + 1][:4] == (1, int(order[1] // ipc), 1, "$name 1")
    assert render(plot, "svg").startswith(b"<?xml")


def test_labels_of_a_file(tmp_path, digits) -> None:
    """Those of the file; class numbers are refused in one line."""
    file = tmp_path / "one.safetensors"
    found = made(digits)
    synthetic.save(file, found, digits)
    with pytest.raises(ConfigError, match="its labels are class numbers"):
        labels(file)
    logits = torch.randn(20, 10, generator=generator(1))
    synthetic.save(file, replace(found, label_logits=logits, soft_labels=logits.softmax(1)), digits)
    assert np.array_equal(labels(file).probabilities, logits.softmax(1).numpy())

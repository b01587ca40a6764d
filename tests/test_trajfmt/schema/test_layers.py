"""Which parameters share a layer."""

from __future__ import annotations

from trajfmt import Layer, ParamLayout


def test_module_grouping_joins_parameters_that_are_apart() -> None:
    """Tensors of one module share a layer even where another module stands between them."""
    layout = ParamLayout.of([("a.w", (2,)), ("b.w", (3,)), ("a.b", (1,)), ("top", (4,))], layers="module")
    assert [(layer.name, layer.parameters) for layer in layout.layers] == [
        ("a", (0, 2)),
        ("b", (1,)),
        ("top", (3,)),
    ]
    assert layout.layer_of_parameter == (0, 1, 0, 2)
    assert layout.runs == ((0, 2, 0), (2, 5, 1), (5, 6, 0), (6, 10, 2))


def test_all_grouping_is_one_layer_and_one_run() -> None:
    """With `all`, everything shares one beta, in one range of memory."""
    layout = ParamLayout.of([("a", (2,)), ("b", (3,))], layers="all")
    assert layout.layers == (Layer("all", (0, 1)),)
    assert layout.runs == ((0, 5, 0),)

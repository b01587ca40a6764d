"""Copies of a network inside one state dict: a question, wherever they lie and whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, names_of, opened, refused  # noqa: E402

State = foreign.State


def under(prefix: str, state: State) -> State:
    """Return a state with other names."""
    return {f"{prefix}{name}": value for name, value in state.items()}


def flat(state: State, dot: str) -> State:
    """Return the parameters of a state by names with other dots, as some callbacks keep them."""
    return {
        name.replace(".", dot): value
        for name, value in state.items()
        if not name.startswith("1.running") and value.ndim
    }


COPIES: dict[str, tuple[str, Callable[[State], State], str, str]] = {
    "beside": (
        "model.",
        lambda ema: under("model_ema.", ema) | {"model_ema.decay": torch.tensor(0.9)},
        "model",
        "model_ema",
    ),
    "no dots": ("model.", lambda ema: under("model_ema.", flat(ema, "")), "model", "model_ema"),
    "wrapped": ("net.", lambda ema: under("ema_net.module.", ema), "net", "ema_net"),
    "teacher": ("student.body.", lambda ema: under("teacher.body.", ema), "student", "teacher"),
    "momentum": ("encoder.", lambda ema: under("momentum_encoder.", ema), "encoder", "momentum_encoder"),
    "camel": ("critic.", lambda ema: under("criticTarget.", ema), "critic", "criticTarget"),
    "inside": (
        "lit.net.",
        lambda ema: under("lit.averaged_model.module.", ema),
        "lit.net",
        "lit.averaged_model",
    ),
    "deeper": ("model.net.", lambda ema: under("ema.shadow.", ema), "model.net", "ema.shadow"),
}
"""The prefix of the names, the copy of a state, and the places of both that the question names."""


@pytest.mark.parametrize("case", COPIES)
def test_a_copy_beside_the_network_is_a_question(tmp_path: Path, trained: Any, case: str) -> None:
    """Each of both answers it, and so does leaving out the copy."""
    prefix, copy, origin, place = COPIES[case]
    averages = foreign.training(4, seed=3)[0]
    states = {t: under(prefix, trained[0][t]) | copy(averages[t]) for t in range(4)}
    folder = foreign.plain(tmp_path / "run", states, key="state_dict")
    line = refused(folder, "nothing_to_convert")
    assert f"holds 2 sets of weights: state_dict.{origin}, state_dict.{place}; choose one with --key" in line
    assert f"--key '^{place}'" in line
    inner = prefix.removeprefix(f"{origin}.")
    for key in (origin, f"state_dict.{origin}"):
        collection, (trajectory,) = opened(folder, key=key)
        assert_same(collection, trajectory, trained[0], inner)
        assert any(f"`{place}`" in text for text in collection.notices if text.startswith("not read"))
    for key in (f"^{place}", f"^state_dict.{place}"):
        collection, (trajectory,) = opened(folder, key=key)
        assert_same(collection, trajectory, trained[0], prefix)
    for key in (".", "state_dict."):
        assert len(names_of(opened(folder, key=key)[0])) in (12, 13)
    (trajectory,) = opened(folder, key=place)[1]
    assert trajectory.read(2, 0)[:].tobytes() == averages[2]["0.weight"].numpy().tobytes()


@pytest.mark.parametrize("write", [foreign.plain, foreign.tensors, foreign.huggingface])
def test_in_every_kind_of_file(tmp_path: Path, trained: Any, write: Any) -> None:
    """Files of torch, safetensors, and the folder of a step."""
    averages = foreign.training(4, seed=3)[0]
    states = {t: under("model.", trained[0][t]) | under("ema.", averages[t]) for t in range(4)}
    folder = write(tmp_path / "run", states)
    assert "2 sets of weights: model, ema" in refused(folder, "nothing_to_convert")
    for key, found in (("model", trained[0]), ("ema", averages)):
        assert_same(*one(folder, key), found)
    assert_same(*one(folder, "^ema"), trained[0], "model.")


def one(folder: Path, key: str) -> tuple[Any, Any]:
    """Return a source and its only trajectory."""
    collection, (trajectory,) = opened(folder, key=key)
    return collection, trajectory


def test_shards_are_one_state_dict(tmp_path: Path, trained: Any) -> None:
    """The copy may lie in another shard."""
    states = {t: under("model.", s) | under("ema.", trained[0][3 - t]) for t, s in enumerate(trained[0])}
    folder = foreign.huggingface(tmp_path / "run", states, shards=2)
    assert "2 sets of weights: model, ema" in refused(folder, "nothing_to_convert")
    collection, (trajectory,) = opened(folder, key="model")
    assert_same(collection, trajectory, trained[0])


def test_names_beside_a_copy_have_no_key_of_their_own(tmp_path: Path, trained: Any) -> None:
    """All but the copy is what remains: of one whose names have the dots of no other, too."""
    averages = foreign.training(4, seed=3)[0]
    for number, copy in enumerate((lambda s: under("ema.", s), lambda s: under("ema_", flat(s, "_")))):
        states = {t: trained[0][t] | copy(averages[t]) for t in range(4)}
        folder = foreign.plain(tmp_path / str(number), states)
        pattern = ("ema", "ema_*")[number]
        assert f"the other tensors, {pattern}" in (line := refused(folder, "nothing_to_convert"))
        assert f"--key '^{pattern}'" in line
        collection, (trajectory,) = opened(folder, key=f"^{pattern}")
        assert_same(collection, trajectory, trained[0])


def test_several_copies_are_left_out_by_a_pattern(tmp_path: Path, trained: Any) -> None:
    """Each part of the network has its own."""
    states = {}
    for t, state in enumerate(trained[0]):
        parts = [
            under(part, foreign.json_free(state)) for part in ("body.", "body_ema.", "head.", "head_ema.")
        ]
        states[t] = {name: value for part in parts for name, value in part.items()}
    folder = foreign.plain(tmp_path / "run", states)
    line = refused(folder, "nothing_to_convert")
    assert "4 sets of weights: body, body_ema, head, head_ema; all others with --key '^*_ema'" in line
    collection, _ = opened(folder, key="^*_ema")
    assert {name.partition(".")[0] for name in names_of(collection)} == {"body", "head"}
    assert "2 sets of weights: body, body_ema" in refused(folder, "nothing_to_convert", key="^head_ema")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("layers.0.", "layers.1."),
        ("encoder.", "decoder."),
        ("image_tower.", "text_tower."),
        ("source_encoder.", "target_encoder."),
        ("input_embedding.", "target_embedding."),
        ("q_proj.", "k_proj."),
        ("policy.", "value."),
        ("avg_mlp.", "max_mlp."),
    ],
)
def test_parts_of_one_network_are_no_question(tmp_path: Path, trained: Any, one: str, other: str) -> None:
    """Although their names and shapes are the same."""
    states = {t: under(one, s) | under(other, trained[0][3 - t]) for t, s in enumerate(trained[0])}
    collection, _ = opened(foreign.plain(tmp_path / "run", states))
    assert len(names_of(collection)) == 12


def test_a_teacher_of_another_network_is_a_part(tmp_path: Path, trained: Any) -> None:
    """It has the shapes of no other; and a copy that is the same tensors is no second set."""
    states = {
        t: under("student.", s) | {"teacher.0.weight": torch.ones(9, 9)} for t, s in enumerate(trained[0])
    }
    assert len(names_of(opened(foreign.plain(tmp_path / "a", states))[0])) == 7
    states = {t: under("model.", s) | under("ema.", s) for t, s in enumerate(trained[0])}
    assert len(names_of(opened(foreign.plain(tmp_path / "b", states))[0])) == 12


def test_a_key_that_chooses_nothing_is_refused(tmp_path: Path, trained: Any) -> None:
    """Nothing is left out that is not there."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), key="model")
    assert "no weights at --key ^ema: it holds model" in refused(folder, "nothing_to_convert", key="^ema")
    folder = foreign.tensors(tmp_path / "other", dict(enumerate(trained[0])))
    assert "has no keys such as ^ema" in refused(folder, "nothing_to_convert", key="^ema")


@pytest.mark.parametrize("word", ["ema", "swa", "shadow"])
def test_averages_by_the_last_part_of_names(tmp_path: Path, trained: Any, word: str) -> None:
    """They are a copy if all weights have one, and the business of a layer otherwise."""
    states = {}
    for t, state in enumerate(trained[0]):
        kept = {name: value for name, value in state.items() if value.ndim and "running" not in name}
        states[t] = state | {f"{name}_{word}": value * 2 for name, value in kept.items()}
    folder = foreign.plain(tmp_path / "a", states)
    assert f"--key '^*_{word}'" in refused(folder, "nothing_to_convert")
    collection, (trajectory,) = opened(folder, key=f"^*_{word}")
    assert_same(collection, trajectory, trained[0])
    states = {t: s | {f"4.bias_{word}": s["4.bias"] * 2} for t, s in enumerate(trained[0])}
    assert len(names_of(opened(foreign.plain(tmp_path / "b", states))[0])) == 7


def test_copies_in_every_layer_are_left_out_by_a_pattern(tmp_path: Path) -> None:
    """No key chooses a single layer by mistake."""
    names = [f"layers.{layer}.{half}.{{}}.weight" for layer in range(2) for half in ("lora_A", "lora_B")]
    states = {
        t: {
            name.format(part): torch.full((4, 4), t + w)
            for name in names
            for w, part in ((1.0, "default"), (9.0, "reference"))
        }
        for t in range(3)
    }
    folder = foreign.plain(tmp_path / "run", states)
    line = refused(folder, "nothing_to_convert")
    assert "2 sets of weights: *.default, *.reference; all others with --key '^*.reference'" in line
    assert len(names_of(opened(folder, key="^*.reference")[0])) == 4
    assert "no weights at --key" in refused(folder, "nothing_to_convert", key="layers.0.lora_A.default")


@pytest.mark.parametrize("write", [foreign.plain, foreign.tensors])
def test_moments_in_a_state_dict_are_no_weights(tmp_path: Path, trained: Any, write: Any) -> None:
    """Below an optimizer they are not read, and elsewhere they are a question."""
    for prefix in ("optimizer.exp_avg.", "optimizer_state.state.m.", "opt_state.mu."):
        states = {t: s | under(prefix, trained[0][3 - t]) for t, s in enumerate(trained[0])}
        collection, (trajectory,) = opened(write(tmp_path / prefix, states))
        assert_same(collection, trajectory, trained[0])
        (remark,) = [text for text in collection.notices if text.startswith("not read")]
        assert f"`{prefix.partition('.')[0]}`" in remark
    states = {t: s | under("exp_avg.", trained[0][3 - t]) for t, s in enumerate(trained[0])}
    assert "the other tensors, exp_avg" in refused(write(tmp_path / "run", states), "nothing_to_convert")
    states = {t: under("opt.", s) for t, s in enumerate(trained[0])}
    assert len(names_of(opened(write(tmp_path / "opt", states))[0])) == 6


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module."])
def test_a_wrapped_network_beside_the_plain_one_is_a_question(
    tmp_path: Path, trained: Any, wrapper: str
) -> None:
    """The names differ in the wrapper alone, so that it cannot be removed."""
    states = {t: s | under(wrapper, trained[0][3 - t]) for t, s in enumerate(trained[0])}
    folder = foreign.plain(tmp_path / "run", states)
    assert f"the other tensors, {wrapper[:-1]}" in refused(folder, "nothing_to_convert")
    for key in (wrapper[:-1], f"^{wrapper[:-1]}"):
        collection, (trajectory,) = opened(folder, key=key)
        assert_same(collection, trajectory, trained[0][:: -1 if key == wrapper[:-1] else 1])


def test_what_is_beside_both_is_named(tmp_path: Path, trained: Any) -> None:
    """The key of one set leaves it out, so that the question offers to leave out the copy."""
    averages = foreign.training(4, seed=3)[0]
    states = {
        t: under("encoder_q.", s) | under("encoder_k.", averages[t]) | {"queue": torch.full((3, 9), float(t))}
        for t, s in enumerate(trained[0])
    }
    folder = foreign.plain(tmp_path / "run", states)
    line = refused(folder, "nothing_to_convert")
    assert "2 sets of weights: encoder_q, encoder_k; all others with --key '^encoder_k'" in line
    assert len(names_of(opened(folder, key="^encoder_k")[0])) == 7
    (remark,) = [text for text in opened(folder, key="encoder_q")[0].notices if text.startswith("not read")]
    assert remark == "not read: `encoder_k`, `queue`"

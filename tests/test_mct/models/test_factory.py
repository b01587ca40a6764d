"""Networks of others: `package.module:factory`, imported only for the user who names it."""

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.models import factory, networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

NUMBERS = itertools.count()

HEAD = """
import torch
from torch import nn

def make(channels, image_size, classes):
"""

LINEAR = HEAD + "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))\n"

Written = Callable[[str], str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Return a function that puts a module into the working folder and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def write(text: str) -> str:
        name = f"factory_of_a_test_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def build(name: str, *, seed: int = 0) -> torch.nn.Module:
    """Return the network that a user names, for 2-channel 4x4 images and three classes."""
    model = networks.parse(name, channels=2, image_size=4, classes=3)
    return networks.build(model, generator=generator(seed))


def test_factory_in_the_working_folder_is_called_with_images_and_classes(written: Written) -> None:
    """Any module that `python -m` would find; the folder is importable only meanwhile."""
    path = list(sys.path)
    network = build(f"{written(LINEAR)}:make")
    assert networks.parameters_of(network) == [("1.weight", (3, 32)), ("1.bias", (3,))]
    assert network.training
    assert sys.path == path


def test_factory_in_an_installed_package(written: Written) -> None:
    """Dots lead into packages; a class is a factory too, with a constructor of this form."""
    folder = Path(written("")).absolute().parent / "package_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text("from .parts import Small\n")
    (folder / "parts.py").write_text(
        "from torch import nn\nclass Small(nn.Sequential):\n"
        "    def __init__(self, *, channels, image_size, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(channels * image_size**2, classes))\n"
    )
    try:
        assert type(build("package_of_a_test.nets:Small")).__name__ == "Small"
    finally:
        for name in [name for name in sys.modules if name.startswith("package_of_a_test")]:
            del sys.modules[name]


def test_model_records_the_factory() -> None:
    """Family and name of the code, nothing of a ConvNet; nothing is imported for that."""
    model = networks.parse("no.such_module:make", channels=2, image_size=4, classes=3)
    assert model == trajfmt.Model(
        family="other", channels=2, image_size=4, classes=3, factory="no.such_module:make"
    )


def test_weights_come_from_the_generator_alone(written: Written) -> None:
    """The same seed gives the same weights, also at the first import; the global state is as before."""
    name = f"{written(LINEAR.replace('def make', 'torch.rand(7)' + chr(10) + 'def make'))}:make"
    torch.random.manual_seed(3)
    before = torch.random.get_rng_state()
    one = networks.flatten(build(name))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.random.manual_seed(4)
    assert torch.equal(networks.flatten(build(name)), one)
    assert not torch.equal(networks.flatten(build(name, seed=1)), one)


def test_factory_that_fails_leaves_the_global_state(written: Written) -> None:
    """Restored on the way out of an error too."""
    name, before = (
        written(HEAD + "    torch.rand(3)\n    raise ValueError('no luck')"),
        torch.random.get_rng_state(),
    )
    with pytest.raises(ConfigError, match="no luck"):
        build(f"{name}:make")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_code_that_only_a_file_names_is_not_imported(written: Written, tmp_path: Path) -> None:
    """A bundle or a result says `factory`: nothing runs until the user names the same."""
    name = written(LINEAR + "open('imported', 'w').close()\n")
    model = trajfmt.Model(family="other", channels=2, image_size=4, classes=3, factory=f"{name}:make")
    with pytest.raises(ConfigError, match=f"--model {name}:make if you trust it"):
        networks.build(model, generator=generator(0))
    assert not (tmp_path / "imported").exists()
    networks.parse(f"{name}:make", channels=2, image_size=4, classes=3)
    networks.build(model, generator=generator(0))
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(("body", "message"), [
    ("    raise KeyError('lost')", r"make\(channels=2, image_size=4, classes=3\) raised KeyError: 'lost'"),
    ("    raise SystemExit(3)", "raised SystemExit: 3"),
    ("    return 5", "must return a torch.nn.Module, got int"),
    ("    return None", "must return a torch.nn.Module, got NoneType"),
    ("    return nn.Linear", "must return a torch.nn.Module, got type"),
    ("    return nn.Linear(5, classes)", r"given images \(2, 2, 4, 4\), raised RuntimeError"),
    ("    return nn.Sequential(nn.Flatten(), nn.Linear(32, 4))", r"return logits \(2, 3\), got \(2, 4\)"),
    ("    return nn.Sequential(nn.Flatten(0), nn.Linear(64, 3))", r"must return logits \(2, 3\), got \(3,\)"),
    ("    return nn.Sequential(nn.Flatten(2), nn.LSTM(16, 3))", "got tuple"),
    ("    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))", "has no parameters"),
    ("    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3)).double()", "`1.weight` must be float32"),
    ("    net = nn.Sequential(nn.Flatten(), nn.Linear(32, 3)); net.x = nn.Parameter(torch.ones(1).half())\n"
     "    return net", "`x` must be float32, got torch.float16"),
    ("    net = nn.Sequential(nn.Flatten(), nn.Linear(32, 3)); net[1].bias.requires_grad_(False)\n"
     "    return net", "`1.bias` is frozen"),
    ("    a = nn.Linear(3, 3)\n    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3), a, a)",
     "`2.weight` and `3.weight` share memory"),
    ("    a, b = nn.Linear(3, 3), nn.Linear(3, 3); b.weight = nn.Parameter(a.weight.data.T)\n"
     "    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3), a, b)",
     "`2.weight` and `3.weight` share memory"),
])  # fmt: skip
def test_network_that_cannot_be_used_is_refused(written: Written, body: str, message: str) -> None:
    """What the factory does wrong is one line that names it."""
    with pytest.raises(ConfigError, match=message) as caught:
        build(f"{written(HEAD + body)}:make")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "name", "message"), [
    ("", "make", "has no 'make'"),
    ("make = 3", "make", "must be callable, got int"),
    ("import no_such_thing", "make", "importing .* raised ModuleNotFoundError: No module named 'no_such_t"),
    ("make = (", "make", "importing .* raised SyntaxError"),
    ("1 / 0", "make", "importing .* raised ZeroDivisionError"),
    ("import sys; sys.exit('usage: ...')", "make", "importing .* raised SystemExit: usage"),
    ("def make():\n    pass", "make", "raised TypeError"),
])  # fmt: skip
def test_module_that_cannot_be_used_is_refused(written: Written, text: str, name: str, message: str) -> None:
    """Import, look up and call: each has its message."""
    with pytest.raises(ConfigError, match=message):
        build(f"{written(text)}:{name}")


def test_module_that_is_missing_is_named_with_the_places_looked_at(written: Written, tmp_path: Path) -> None:
    """The part that is missing, also where a module is taken for a package."""
    with pytest.raises(
        ConfigError, match=f"no module 'no_such_package' is installed, nor is there one in {tmp_path}"
    ):
        build("no_such_package.nets:make")
    name = written(LINEAR)
    with pytest.raises(ConfigError, match=f"no module '{name}.nets'"):
        build(f"{name}.nets:make")


def test_name_that_no_manifest_can_hold_is_refused() -> None:
    """More than 200 characters."""
    with pytest.raises(ConfigError, match="at most 200 characters, got 201"):
        networks.parse("a" * 199 + ":b", channels=2, image_size=4, classes=3)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_layers_are_settled_by_the_trial(written: Written) -> None:
    """Shapes that the first images decide are known when the network is returned, and seeded."""
    name = f"{written(HEAD + '    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))')}:make"
    assert networks.parameters_of(build(name))[0] == ("1.weight", (3, 32))
    assert torch.equal(networks.flatten(build(name)), networks.flatten(build(name)))


def test_the_source_of_a_factory_is_told_by_a_hash(tmp_path: Path, monkeypatch) -> None:
    """That of the file of its module; a network that the user has not named is not imported for it."""
    text = "from torch import nn\ndef make(**facts): return nn.Linear(1, 1)\n"
    (tmp_path / "hashed_networks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        factory.source_sha256("hashed_networks:make")
    factory.allow("hashed_networks:make")
    assert factory.source_sha256("hashed_networks:make") == hashlib.sha256(text.encode()).hexdigest()

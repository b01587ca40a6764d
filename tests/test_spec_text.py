"""The text of the specification against the library: what both state must be the same."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
import zstandard

from trajfmt import errors
from trajfmt.codecs import zstd
from trajfmt.codecs.table import CODECS
from trajfmt.schema import consistency, features, layout, manifest, parse, weight
from trajfmt.schema.manifest import MAX_CHUNK
from trajfmt.storage import safetensors
from trajfmt.trajectory import measure

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec" / "v1"
VECTORS = SPEC / "vectors"
TEXT = (SPEC / "spec.md").read_text()

EXIT_CODES = {
    kind.__name__: kind.exit_code
    for kind in (errors.NotABundleError, errors.CorruptError, errors.UnsafeError, errors.SourceError)
}


def reason_table() -> dict[str, set[int]]:
    """Return the reasons of section 10 with their exit codes."""
    section = TEXT.split("\n## 10.")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([0-9, ]+) \| (\S.*) \|$", section, re.MULTILINE)
    assert len({code for code, _, _ in rows}) == len(rows)
    return {code: {int(number) for number in numbers.split(",")} for code, numbers, _ in rows}


def raised() -> list[tuple[str, str]]:
    """Return (error class, reason) wherever the library raises an error with a literal reason."""
    found = []
    for path in sorted((ROOT / "trajfmt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in EXIT_CODES
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.append((node.func.id, node.args[0].value))
    return found


def examples() -> list[str]:
    """Return the manifests in the text."""
    return re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_reasons_are_those_of_the_library() -> None:
    """The table of reasons names the library's reasons, no more and no less, in the same order."""
    assert tuple(reason_table()) == errors.REASONS


def test_exit_codes_are_those_of_the_library() -> None:
    """Every error that the library raises has the exit code that the table gives for its reason."""
    table = reason_table()
    seen: dict[str, set[int]] = {}
    for kind, reason in raised():
        seen.setdefault(reason, set()).add(EXIT_CODES[kind])
    assert seen
    for reason, codes in seen.items():
        assert codes <= table[reason], reason


@pytest.mark.parametrize("text", examples())
def test_example_is_the_manifest_of_a_vector(text: str) -> None:
    """A manifest in the text is that of the bundle that the text names, apart from white space."""
    bundles = re.findall(r"^`vectors/(valid/[\w.-]+)`", TEXT, re.MULTILINE)
    vectors: list[Any] = [json.loads((VECTORS / path / "manifest.json").read_bytes()) for path in bundles]
    assert json.loads(text) in vectors


def test_there_is_an_example_of_each_encoding() -> None:
    """One worked example per encoding."""
    assert {json.loads(text)["encoding"] for text in examples()} == {"convex", "full"}


def test_rules_of_names_are_those_of_the_library() -> None:
    """The regular expressions of paths and factories are the same in text, schema and library."""
    pattern, factory = re.findall(r"^```regex\n(.*)\n```$", TEXT, re.MULTILINE)
    assert (pattern, factory) == (parse.PATH.pattern, manifest.FACTORY)
    schema = json.loads((SPEC / "manifest.schema.json").read_text())
    assert schema["$defs"]["factory"]["pattern"] == f"^{factory}$(?!\\n)"
    assert schema["$defs"]["factory"]["maxLength"] == manifest.MAX_FACTORY


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (r"\| manifest \| ([\d,]+) bytes", manifest.MAX_BYTES),
        (r"\| weight of a manifest \(3.1\) \| ([\d,]+)", weight.MAX_MANIFEST_WEIGHT),
        (r"and a weight of at most ([\d,]+),", weight.MAX_MANIFEST_WEIGHT),
        (r"\| weight of a safetensors header \(6.1\) \| ([\d,]+)", safetensors.MAX_WEIGHT),
        (r"object of a weight of at most ([\d,]+) ", safetensors.MAX_WEIGHT),
        (r"\| timesteps \| 2 to ([\d,]+)", manifest.MAX_TIMESTEPS),
        (r"\| T of a trajectory with a Gram matrix \| (\d+)", consistency.MAX_GRAM),
        (r"\| elements of a table u, \(T\+1\) · L \| ([\d,]+)", consistency.MAX_TABLE),
        (r"\| expansion of the chunks of a trajectory \| ([\d,]+) times", consistency.MAX_EXPANSION),
        (r"\| window of a zstd frame \| (\d+) MiB", zstd.MAX_WINDOW >> 20),
        (r"\| path \| (\d+) characters", parse.MAX_PATH),
        (r"\| `factory` \| (\d+) characters", manifest.MAX_FACTORY),
        (r"\| dimensions of a parameter \| (\d+)", manifest.MAX_DIMS),
        (r"\| safetensors header \| ([\d,]+) bytes", safetensors.MAX_HEADER),
        (r"\| elements of a chunk \| 2\^(\d+)", MAX_CHUNK.bit_length() - 1),
    ],
)
def test_limits_are_those_of_the_library(row: str, value: int) -> None:
    """A limit in the text is the constant in the code."""
    (found,) = re.findall(row, TEXT)
    assert int(found.replace(",", "")) == value


def test_a_chunk_fits_into_a_window() -> None:
    """No frame of a legal chunk needs a larger window."""
    widest = max(dtype.itemsize for dtype in layout.DTYPES.values())
    assert MAX_CHUNK * widest == zstd.MAX_WINDOW


def test_limit_of_the_gram_matrix_is_that_of_writers() -> None:
    """What a writer leaves out is what a reader refuses."""
    assert consistency.MAX_GRAM == measure.GRAM_LIMIT


def test_features_are_those_of_the_library() -> None:
    """The table of features names what the library reads, and where; so does the schema."""
    rows = re.findall(r"^\| `([\w.]+)` \| (top level|entry) \|", TEXT, re.MULTILINE)
    assert {name for name, _ in rows} == features.KNOWN
    kinds = {feature: codec.name for codec in CODECS.values() if (feature := codec.feature)}
    on_top = {name for dtype in layout.DTYPES for name in features.of_weights(dtype, None)} | set(kinds)
    assert {name for name, place in rows if place == "top level"} == on_top
    schema = json.loads((SPEC / "manifest.schema.json").read_text())
    assert set(schema["$defs"]["feature"]["enum"]) == features.KNOWN
    assert frozenset() == parse.WRITE_FEATURES


def test_every_key_is_explained() -> None:
    """Every key that the schema knows stands in the text."""
    schema = json.loads((SPEC / "manifest.schema.json").read_text())
    objects = [schema, *schema["$defs"].values()]
    for key in {key for item in objects for key in item.get("properties", {})}:
        assert re.search(rf"`(\w+\.)?{key}`", TEXT), key


def test_sections_that_are_referred_to_exist() -> None:
    """No reference to a section leads nowhere."""
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", TEXT, re.MULTILINE))
    assert set(re.findall(r"[Ss]ections? (\d+(?:\.\d+)?)", TEXT)) <= sections


def imports(path: Path) -> set[str]:
    """Return the top-level names that a program imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def test_programs_beside_the_vectors_are_independent() -> None:
    """Generator and one-page reader share nothing with the library, and the reader is one page."""
    programs = sorted(VECTORS.glob("*.py"))
    assert programs
    assert all("trajfmt" not in imports(program) for program in programs)
    reader = VECTORS / "read.py"
    assert imports(reader) - sys.stdlib_module_names == {"numpy", "zstandard"}
    assert len(reader.read_text().splitlines()) <= 240


def test_vectors_stay_small() -> None:
    """Generator, vectors and index together take less than 1.2 MB."""
    files = [path for path in VECTORS.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 1_200_000


def test_generator_writes_the_same_bytes(tmp_path: Path) -> None:
    """The vectors are what the generator makes, byte for byte, under the same HDF5 and zstd."""
    made_with = json.loads((VECTORS / "index.json").read_text())["made_with"]
    zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    subprocess.run([sys.executable, "-B", str(VECTORS / "generate.py"), str(tmp_path)], check=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {
        path.relative_to(VECTORS): path.read_bytes()
        for path in [
            VECTORS / "index.json",
            *(VECTORS / "valid").rglob("*"),
            *(VECTORS / "invalid").rglob("*"),
        ]
        if path.is_file()
    }
    assert made.keys() == kept.keys()
    if made_with != {"hdf5": h5py.version.hdf5_version, "zstd": zstd}:
        pytest.skip("another version of HDF5 or zstd writes other bytes")
    assert made == kept

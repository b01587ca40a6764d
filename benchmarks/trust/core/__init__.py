"""The core of the format, its reader and its writer, and the tests that must hold it.

Modules:
    measure: which lines and branches the tests of the core run, and which test runs which line.
    selection: a plugin of pytest that picks tests, orders them and notes how long they take.
    sites: the small changes that turn a module into a mutant.
    trials: mutants tried in forked processes.
    equivalents: mutants that behave like the original, each with the reason.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

FOLDERS = ("schema", "codecs", "encodings", "bundle", "storage")
TRANSPORT = {
    f"trajfmt/storage/{name}.py"
    for name in ("address", "arrivals", "cache", "causes", "connections", "proxies", "retries", "transfer")
}
"""Modules that move bytes from an address and give them no meaning.

They are measured, too, but not mutated: each trial would wait for servers that break off.
"""

TESTS = (
    *(f"tests/test_trajfmt/{folder}" for folder in FOLDERS),
    "tests/test_spec_arithmetic.py",
    "tests/test_spec_safetensors.py",
    "tests/test_spec_schema.py",
    "tests/test_spec_text.py",
    "tests/test_spec_vectors.py",
)


def modules(root: Path = ROOT) -> list[str]:
    """Return the paths of the core's modules, relative to `root`."""
    return sorted(
        str(path.relative_to(root))
        for folder in FOLDERS
        for path in (root / "trajfmt" / folder).rglob("*.py")
        if path.name != "__init__.py"
    )

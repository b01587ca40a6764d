"""The folder for what can be fetched or computed again."""

from pathlib import Path

from trajfmt.storage.cache import cache_folder


def test_place_of_the_cache(monkeypatch) -> None:
    """TRAJFMT_CACHE, then XDG_CACHE_HOME, then the home; none without a home."""
    monkeypatch.setenv("TRAJFMT_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    found = [cache_folder()]
    for name in ("TRAJFMT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
        found.append(cache_folder())
    assert found == [Path("/a"), Path("/b/trajfmt"), Path("/c/.cache/trajfmt")]

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/c/.cache/trajfmt")

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None

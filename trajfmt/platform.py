"""The systems that this library runs on; importing it elsewhere is one clear error."""

from importlib.util import find_spec

if find_spec("fcntl") is None:
    raise ImportError(
        "trajfmt runs on Linux, macOS and other POSIX systems: it needs their file locks (fcntl), which this"
        " system does not have; on Windows, use it in WSL"
    )

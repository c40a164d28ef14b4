"""Keel: the backbone for machine-learning systems in production, as one command.

The package brings the command `keel` with its engines, and this module to find it. Programs talk to a running server with the clients they have already:
`mlflow`, any client of the Open Inference Protocol, or plain HTTP.
"""
from importlib.metadata import version
from pathlib import Path

__all__ = ["find_binary"]
__version__ = version("keel-ml")


def find_binary() -> str:
    """Returns the path of the command that this package installed.

    Raises FileNotFoundError when the package's files are not all there.
    """
    path = Path(__file__).resolve().parent / "bin" / "keel"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: install keel-ml again")
    return str(path)

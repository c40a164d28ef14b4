import pathlib
import subprocess

import pytest

from machine import Machine, can_be_made
from servers import KEEL, ROOT


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """A key pair for this run: (secret, public)."""
    folder = tmp_path_factory.mktemp("key")
    pair = folder / "secret", folder / "public"
    done = subprocess.run(["minisign", "-G", "-W", "-s", pair[0], "-p", pair[1]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pair


@pytest.fixture(scope="session")
def packages(tmp_path_factory, key):
    """All packages, made of the build that is tested."""
    folder = tmp_path_factory.mktemp("packages")
    done = subprocess.run(
        [ROOT / "scripts" / "package", "all", "--output", folder, "--build", pathlib.Path(KEEL).resolve().parent, "--key", key[0]],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def machine():
    if not can_be_made():
        pytest.skip("no machine can be made here")
    made = Machine()
    yield made
    made.remove()

"""What `keel doctor` says of the system it runs on."""
import json
import subprocess

import pytest

from servers import KEEL

# In a network of its own the setting is one of its own; that takes a right which not every machine gives.
NETWORK = ["unshare", "--net", "sh", "-c", "echo $0 > /proc/sys/net/core/somaxconn && exec \"$@\""]


def doctor(queue, *arguments):
    return subprocess.run([*NETWORK, str(queue), str(KEEL), "doctor", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(autouse=True)
def network():
    if subprocess.run([*NETWORK, "128", "true"], capture_output=True).returncode != 0:
        pytest.skip("no network of its own can be made here")


def test_a_queue_of_connections_that_is_too_short_is_named_with_the_mend():
    entry, = json.loads(doctor(128, "--json").stdout)["system"]
    assert entry["name"] == "net.core.somaxconn" and entry["value"] == 128 and entry["mend"].startswith("sysctl -w net.core.somaxconn=4096")
    text = doctor(128).stdout
    assert "net.core.somaxconn is 128" in text and entry["mend"] in text


def test_a_queue_that_is_long_enough_is_not_talked_of():
    entry, = json.loads(doctor(4096, "--json").stdout)["system"]
    assert entry == {"name": "net.core.somaxconn", "value": 4096, "problem": None, "mend": None}
    assert "somaxconn" not in doctor(4096).stdout

"""What `keel doctor` says of the system it runs on."""
import json
import re
import socket
import subprocess
import threading

import pytest

from servers import KEEL

# In a network of its own the setting is one of its own; that takes a right which not every machine gives.
NETWORK = ["unshare", "--net", "sh", "-c", "echo $0 > /proc/sys/net/core/somaxconn && exec \"$@\""]


def doctor(queue, *arguments):
    return subprocess.run([*NETWORK, str(queue), str(KEEL), "doctor", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(autouse=True)
def network(request):
    if "shared_keel" in request.fixturenames:
        return
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


def test_grpc_is_found_at_the_servers_address(shared_keel):
    assert shared_keel.json("doctor", check=False)["server"]["grpc"] is True
    text = shared_keel.cli("doctor", check=False).stdout
    assert re.search(r"gRPC +answers at the same address", text)
    # A proxy that speaks HTTP/1.1 alone stands before the server.
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        threading.Thread(target=pass_on, args=(proxy, shared_keel.port), daemon=True).start()
        server = json.loads(shared_keel.cli("doctor", "--json", check=False, environment={"KEEL_URL": f"http://127.0.0.1:{proxy.getsockname()[1]}"}).stdout)["server"]
        assert server["problem"] is None and server["grpc"] is False


def pass_on(proxy, port):
    """Passes connections on under the server's own name, but for those that begin with the preface of HTTP/2."""
    own, theirs = (f"127.0.0.1:{number}".encode() for number in (proxy.getsockname()[1], port))
    while True:
        try:
            client, _ = proxy.accept()
        except OSError:
            return
        first = client.recv(65536)
        if first.startswith(b"PRI"):
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            client.close()
            continue
        server = socket.create_connection(("127.0.0.1", port))
        server.sendall(first.replace(own, theirs))
        threading.Thread(target=copy, args=(client, server, own, theirs), daemon=True).start()
        threading.Thread(target=copy, args=(server, client), daemon=True).start()


def copy(source, target, old=b"", new=b""):
    while part := source.recv(65536):
        target.sendall(part.replace(old, new))
    target.close()

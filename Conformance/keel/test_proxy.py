"""A real nginx in front of a server on the same machine."""
import grp
import os
import pathlib
import pwd
import shutil
import subprocess
import time

import pytest
import requests

from servers import Keel, free_port

BINARY = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])


class Nginx:
    """nginx with its default configuration of a proxy: it adds no header that tells of it."""

    def __init__(self, folder, upstream, user, extra=""):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder.chmod(0o777)
        (self.folder / "nginx.conf").write_text(f"""
daemon off;
user {user} {grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name};
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {self.folder}/body;
  proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/fastcgi;
  uwsgi_temp_path {self.folder}/uwsgi;
  scgi_temp_path {self.folder}/scgi;
  server {{
    listen 127.0.0.1:{self.port};
    location / {{ proxy_pass {upstream}; {extra} }}
  }}
}}
""")

    def __enter__(self):
        self.process = subprocess.Popen([BINARY, "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")])
        for _ in range(200):
            try:
                if requests.get(self.url + "/health", timeout=5).status_code == 200:
                    return self
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "error.log").read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def attack(self):
        """The status of making oneself an owner through the proxy."""
        return requests.post(self.url + "/api/v1/tokens", json={"name": "stranger", "persona": "owner"}, timeout=30).status_code


@pytest.fixture(autouse=True)
def root():
    if os.geteuid() != 0:
        pytest.skip("nginx as another user takes root")


def test_a2_behind_a_proxy_of_another_user_nobody_is_the_owner(keel, tmp_path):
    with Nginx(tmp_path, keel.url, "nobody") as proxy:
        assert proxy.attack() == 401
        assert requests.get(proxy.url + "/api/v1/tokens").status_code == 401
        assert requests.get(proxy.url + "/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}).status_code == 401
        assert keel.get("/api/v1/tokens").json()["tokens"] == []
        # A token is what a proxy passes on.
        token = keel.cli("tokens", "create", "ada", "--persona", "data-scientist").stdout.strip()
        assert requests.get(proxy.url + "/api/v1/endpoints", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a2_a_proxy_that_says_so_is_not_the_owner_whoever_runs_it(keel, tmp_path):
    with Nginx(tmp_path, keel.url, "root", "proxy_set_header X-Forwarded-For $remote_addr;") as proxy:
        assert proxy.attack() == 401


def test_a2_a_silent_proxy_of_the_servers_own_user_needs_the_setting_that_the_start_recommends(keel, tmp_path):
    assert "behind a proxy on this machine set auth.local: off" in keel.log()
    with Nginx(tmp_path, keel.url, "root") as proxy:
        # Nothing tells it from the owner's own programs: this is what the setting is for.
        assert proxy.attack() == 200
    keel.stop()
    server = Keel(home=keel.home, environment={"KEEL_AUTH_LOCAL": "off"}).start()
    try:
        (tmp_path / "off").mkdir()
        with Nginx(tmp_path / "off", server.url, "root") as proxy:
            assert proxy.attack() == 401
        assert server.get("/api/v1/tokens").status_code == 401
        assert "set auth.local" not in server.log().split("stopped")[-1]
    finally:
        server.stop()

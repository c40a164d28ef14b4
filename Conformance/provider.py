"""A real OpenID Connect provider, oidc-provider-mock: people log in to it with one request, and its tokens are signed with a key of its own."""
import subprocess
import sys
import time
import urllib.parse

import requests

from servers import free_port


class Provider:
    """Each start makes new keys."""

    def __init__(self, *options):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = options
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port), *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            assert self.process.poll() is None, "the provider ended"
            try:
                requests.get(self.url + "/.well-known/openid-configuration", timeout=1).raise_for_status()
                return self
            except requests.RequestException:
                time.sleep(0.05)
        raise AssertionError("the provider did not become ready")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def user(self, subject, **claims):
        requests.put(f"{self.url}/users/{subject}", json=claims, timeout=10).raise_for_status()

    def token(self, subject, client="keel"):
        """Logs in by the authorization code flow; the ID token is for the client."""
        callback = "http://localhost/callback"
        answer = requests.post(
            self.url + "/oauth2/authorize", data={"sub": subject}, allow_redirects=False, timeout=10,
            params={"client_id": client, "redirect_uri": callback, "response_type": "code", "scope": "openid"})
        code = urllib.parse.parse_qs(urllib.parse.urlparse(answer.headers["Location"]).query)["code"][0]
        answer = requests.post(
            self.url + "/oauth2/token", auth=(client, "secret"), timeout=10,
            data={"grant_type": "authorization_code", "code": code, "redirect_uri": callback})
        answer.raise_for_status()
        return answer.json()["id_token"]

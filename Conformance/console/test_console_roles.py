"""Each role: what it may not see is not linked and answers 403."""
import re

import pytest
import requests
import yaml

import walking
from filled import PERSONAS

SECTIONS = {"Experiments": "tracking.read", "Pipelines": "pipelines.read", "Data": "datasets.read", "Monitors": "monitors.read", "Lineage": "resources.read",
            "Endpoints": "releases.read", "Models": "registry.read", "Ledger": "ledger.read"}
PATHS = {"Experiments": "/console/experiments", "Pipelines": "/console/pipelines", "Data": "/console/datasets", "Monitors": "/console/monitors", "Lineage": "/console/lineage",
         "Endpoints": "/console/endpoints", "Models": "/console/models", "Ledger": "/console/ledger"}


@pytest.mark.parametrize("persona", PERSONAS)
def test_role(browser, filled, roles, persona):
    allowed = walking.permissions()[persona]
    window = browser.window(filled.keel.url, token=roles[persona])
    page = window.open("/console")
    linked = set(page.locator("header nav[aria-label=Main] a").all_inner_texts()) - {"Home"}
    assert linked == {title for title, action in SECTIONS.items() if action in allowed}
    for title, action in SECTIONS.items():
        window.open(PATHS[title], status=200 if action in allowed else 403)
    assert not window.complaints
    window.close()


def test_who_may_only_read_is_offered_no_change(browser, filled, roles):
    readers = [persona for persona in PERSONAS if "pipelines.read" in walking.permissions()[persona] and "pipelines.run" not in walking.permissions()[persona]]
    assert readers
    window = browser.window(filled.keel.url, token=roles[readers[0]])
    page = window.open(f"/console/pipeline-runs/{filled.names['words']}")
    assert page.locator("main form[method=post]").count() == 0
    window.close()


def test_who_follows_a_run_is_heard_out_when_the_token_is_revoked(filled):
    token = filled.keel.cli("tokens", "create", "follower", "--persona", "data-scientist").stdout.strip()
    with requests.get(f"{filled.keel.url}/console/runs/{filled.names['live']}/events", headers={"Authorization": f"Bearer {token}"}, stream=True, timeout=40) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines).startswith("retry")
        assert requests.delete(filled.keel.url + "/api/v1/tokens/follower", timeout=30).status_code == 200
        # It would go on for as long as the run does; a sign of life comes every 15 s.
        assert not any("ended" in line for line in lines)


ROLES = """
apiVersion: keel/v1
kind: Role
metadata: { name: watcher }
spec: { actions: [monitors.read, features.read, datasets.read, pipelines.read] }
---
apiVersion: keel/v1
kind: RoleBinding
metadata: { name: watchers }
spec: { role: watcher, tokens: [console-watcher] }
---
apiVersion: keel/v1
kind: RoleBinding
metadata: { name: part-watchers }
spec: { role: watcher, tokens: [console-part-watcher], names: ["habits", "clicks"] }
"""


@pytest.fixture(scope="module")
def watchers(filled):
    """Tokens that may read monitors, features, datasets and pipelines, and no resources or releases: all of them, and those of two names."""
    made = {name: filled.keel.cli("tokens", "create", "console-" + name, "--persona", "member").stdout.strip() for name in ("watcher", "part-watcher")}
    filled.ask("POST", "/api/v1/apply", {"resources": list(yaml.safe_load_all(ROLES))})
    return made


def links(filled, token, path):
    answer = requests.get(filled.keel.url + path, headers={"Authorization": f"Bearer {token}", "Accept": "text/html"}, timeout=30)
    assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return set(re.findall(r'href="(/console/[a-z-]+/[^"?/]+)"', answer.text))


def test_lists_are_read_in_the_name_of_who_asks(filled, watchers):
    """What is declared is read by whoever may read what it declares, as far as the role reaches; nothing is read in the server's name."""
    whole = {path for page in ("monitors", "features", "datasets", "pipelines") for path in links(filled, watchers["watcher"], "/console/" + page)}
    assert {"/console/monitors/buying", "/console/features/habits", "/console/features/asked", "/console/feature-services/buying", "/console/datasets/clicks",
            "/console/pipelines/words", "/console/pipelines/train"} <= whole
    shown = {page: links(filled, watchers["part-watcher"], "/console/" + page) for page in ("monitors", "features", "datasets")}
    assert not any(path.startswith("/console/monitors/") for path in shown["monitors"])
    assert {path for path in shown["features"] if path.startswith(("/console/features/", "/console/feature-services/"))} == {"/console/features/habits"}
    assert {path for path in shown["datasets"] if path.startswith("/console/datasets/")} == {"/console/datasets/clicks"}


def test_bins_are_numbered_for_who_may_not_read_releases(filled, watchers):
    def bins(token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.get(filled.keel.url + "/console/monitors/buying/histogram.json?column=cost", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()
    own, less = bins(None), bins(watchers["watcher"])
    assert own["series"] == less["series"] and own["x"][0].startswith("\u2264") and less["x"][:2] == ["bin 1", "bin 2"]

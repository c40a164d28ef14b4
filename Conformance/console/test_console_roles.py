"""Each role: what it may not see is not linked and answers 403."""
import pytest
import requests

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

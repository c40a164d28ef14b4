"""Every page in both themes: nothing that Chromium complains of, no request to another host, every chart drawn, nothing serious for axe-core."""
import re

import pytest
import requests

from pages import COLOURS


@pytest.fixture(scope="module")
def lasting(browser, filled):
    window = browser.window(filled.keel.url)
    yield window
    window.close()


def each():
    """The names of the pages; their addresses are known once there is a server."""
    from filled import Filled
    nothing = {name: "x" for name in ("experiment", "run", "hostile_experiment", "hostile_run", "live", "trained", "words", "failed", "prediction")} | {"runs": ["x"]}
    server = object.__new__(Filled)
    server.names = nothing
    return list(server.pages())


@pytest.mark.parametrize("name", each())
def test_page(lasting, filled, name):
    lasting.complaints.clear()
    page = lasting.open(filled.pages()[name], status=404 if name == "not-found" else 200)
    assert page.locator("h1").count() == 1
    assert not lasting.failed_charts()
    assert not lasting.violations()
    # The other theme has other colours, and the rest of the page is the same.
    page.emulate_media(color_scheme="dark")
    lasting.drawn()
    assert not lasting.failed_charts()
    assert not lasting.violations(COLOURS)
    page.emulate_media(color_scheme="light")
    # One page shows an artifact that tries to do harm.
    assert not (lasting.harm() if name == "run-html" else lasting.complaints)


def test_pages_are_small(filled):
    large = {}
    for name, path in filled.pages().items():
        answer = requests.get(filled.keel.url + path, headers={"Accept": "text/html"}, timeout=30)
        if len(answer.content) > 100_000:
            large[name] = len(answer.content)
    assert not large


def test_every_link_of_every_page_leads_somewhere(filled):
    """Links within the console, each address once; those that make something are forms."""
    seen, broken = set(), []
    for path in filled.pages().values():
        text = requests.get(filled.keel.url + path, headers={"Accept": "text/html"}, timeout=30).text
        for link in re.findall(r'href="(/console[^"#]*)', text):
            link = link.replace("&amp;", "&")
            # One of each shape is enough: lists link to hundreds of the same kind.
            shape = re.sub(r"[0-9a-f]{8,}(-[0-9a-f-]+)?|\d+", "#", link)
            if shape in seen or link.startswith("/console/assets"):
                continue
            seen.add(shape)
            answer = requests.get(filled.keel.url + link, headers={"Accept": "text/html"}, timeout=30)
            if answer.status_code != 200:
                broken.append((path, link, answer.status_code))
    assert not broken and len(seen) > 60


def test_mlflow_addresses_open_the_page_of_the_same_thing(window, filled):
    run, experiment = filled.names["run"], filled.names["experiment"]
    for fragment, path in [(f"#/experiments/{experiment}/runs/{run}", f"/console/runs/{run}"), (f"#/experiments/{experiment}", f"/console/experiments/{experiment}"),
                           ("#/models/buying/versions/1", "/console/models/buying/versions/1"), ("#/models/buying", "/console/models/buying"), ("", "/console")]:
        window.page.goto("about:blank")
        window.page.goto(filled.keel.url + "/" + fragment)
        window.page.wait_for_url(filled.keel.url + path)

import pytest

from filled import PERSONAS, Filled
from pages import Browser
from servers import Keel


@pytest.fixture(scope="session")
def filled():
    """The server with something on every page, and its local owner."""
    server = Filled().fill()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser():
    chromium = Browser()
    yield chromium
    chromium.close()


@pytest.fixture
def window(browser, filled):
    opened = browser.window(filled.keel.url)
    yield opened
    complaints = opened.complaints
    opened.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def roles(filled):
    """A second server on the same home would lock it: the tokens of every persona, made by the owner."""
    return {persona: filled.keel.cli("tokens", "create", "console-" + persona, "--persona", persona).stdout.strip() for persona in PERSONAS}

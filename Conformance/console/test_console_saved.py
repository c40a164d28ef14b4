"""Pages saved as files: opened from the disk they show the same, ask nobody for anything and run nothing."""
import re

import pytest


@pytest.fixture(scope="module")
def reader(browser):
    """A window of its own: whoever is sent a file has no session."""
    context = browser.chromium.new_context(color_scheme="light", viewport={"width": 1440, "height": 900})
    yield context
    context.close()


def save(window, path, folder):
    page = window.open(path)
    with page.expect_download() as found:
        page.click("#save")
    file = folder / found.value.suggested_filename
    found.value.save_as(file)
    return page, file


def opened(reader, file):
    """The file's page, what it asked for, and what Chromium says of it."""
    page = reader.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_timeout(200)
    return page, [url for url in asked if url != file.as_uri() and not url.startswith("data:")], said


@pytest.mark.parametrize("name", ["home", "endpoint", "runs", "run", "run-charts", "run-artifacts", "run-html", "run-svg", "run-hostile", "run-odd", "compare", "monitor",
                                  "pipeline-run", "lineage-endpoint", "dataset", "ledger", "experiment-hostile", "predictions"])
def test_a_page_is_one_file_that_asks_nobody(window, reader, filled, tmp_path, name):
    page, file = save(window, filled.pages()[name], tmp_path)
    if name == "run-html":
        window.complaints[:] = window.harm()
    heading, figures = page.locator("main h1").inner_text(), page.locator("figure.chart").count()
    failed = page.locator("figure.chart .plot.nothing").count()
    text = file.read_text()
    assert len(text) < 8_000_000
    shown, asked, said = opened(reader, file)
    assert not asked and not said
    assert shown.locator("h1").inner_text() == heading
    assert shown.locator("figure.chart").count() == figures and shown.locator("figure.chart svg").count() == figures - failed
    for svg in shown.locator("figure.chart svg").all():
        assert svg.bounding_box()["width"] > 100 and svg.locator("path, rect, line, text").count() > 3
    assert shown.locator("script, form, button, input, iframe, link, a[href], [onload], [onerror], [onclick]").count() == 0
    note = shown.locator("#saved").inner_text()
    assert re.search(r"^Saved on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC from http://", note) and filled.keel.url in note and "by local" in note
    # Neither what proves a form nor a session is in it.
    assert "csrf" not in text and "X-CSRF" not in text
    shown.close()


def test_the_numbers_of_a_chart_are_beneath_it(window, reader, filled, tmp_path):
    _, file = save(window, filled.pages()["run-charts"], tmp_path)
    shown, _, _ = opened(reader, file)
    figure = shown.locator("figure.chart").first
    assert not figure.locator("table").is_visible()
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() > 100
    shown.close()


def test_a_page_is_saved_in_the_theme_that_it_has(browser, reader, filled, tmp_path):
    dark = browser.window(filled.keel.url, "dark")
    _, file = save(dark, "/console", tmp_path)
    shown, _, _ = opened(reader, file)
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 21)"
    dark.close()

"""What people do on the pages, by mouse and by keyboard, and what the ledger says of it."""
import time

import pytest
import requests


def events(filled, kind, subject=None):
    found = filled.ask("GET", "/api/v1/ledger", {"kind": kind, "order": "newest", "limit": 50})["events"]
    return [event for event in found if subject is None or event["subject"] == subject]


def wait(body, seconds=15):
    end = time.time() + seconds
    while time.time() < end:
        if found := body():
            return found
        time.sleep(0.05)
    raise AssertionError("what was waited for did not come")


def test_a_note_is_saved_and_shown(window, filled):
    run = filled.names["runs"][0]
    page = window.open(f"/console/runs/{run}")
    page.click("summary:text-is('Edit')")
    page.fill("textarea[name=note]", "# Findings\n\nA **better** one\n\n<script>alert(1)</script>")
    page.click("button:text-is('Save note')")
    page.wait_for_selector(".prose h3:text-is('Findings')")
    assert page.locator(".prose strong").inner_text() == "better" and "<script>" in page.locator(".prose").inner_text()
    assert events(filled, "run.tagged", f"Run/{run}") or filled.ask("GET", f"/api/v1/tracking/runs/{run}")["tags"]["mlflow.note.content"].startswith("# Findings")


def test_a_run_is_deleted_and_restored(window, filled):
    run = filled.names["runs"][1]
    page = window.open(f"/console/runs/{run}")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("button:text-is('Delete')")
    assert filled.ask("GET", f"/api/v1/tracking/runs/{run}")["state"] == "active"
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:text-is('Delete')")
    page.wait_for_selector("button:text-is('Restore')")
    assert events(filled, "run.deleted", f"Run/{run}")
    page.click("button:text-is('Restore')")
    page.wait_for_selector("button:text-is('Delete')")
    assert events(filled, "run.restored", f"Run/{run}")


def test_runs_are_filtered_sorted_and_compared(window, filled):
    experiment = filled.names["experiment"]
    page = window.open(f"/console/experiments/{experiment}")
    page.fill("input[name=filter]", "params.depth = '6'")
    page.press("input[name=filter]", "Enter")
    page.wait_for_url("**filter=**")
    assert page.locator("tbody tr").count() == 3
    page.click("thead a:text-is('val/auc')")
    page.wait_for_selector("th[aria-sort=descending]")
    shown = [float(text) for text in page.locator("tbody tr td.num:nth-child(8)").all_inner_texts() if text]
    assert shown == sorted(shown, reverse=True)
    assert page.locator("button:text('Compare')").is_disabled()
    page.locator("td.check input").nth(0).check()
    page.locator("td.check input").nth(2).click(modifiers=["Shift"])
    assert page.locator("button:text('Compare')").inner_text().split() == ["Compare", "3"]
    page.click("button:text('Compare')")
    page.wait_for_url("**/console/compare?**")
    assert page.locator("h1").inner_text() == "Compare 3 runs"


def test_a_wrong_filter_is_explained_where_it_was_written(window, filled):
    page = window.open(f"/console/experiments/{filled.names['experiment']}?filter=metrics.loss+%3E+%27a%27")
    assert page.locator("#filter-problem").is_visible() and page.input_value("input[name=filter]") == "metrics.loss > 'a'"


def test_columns_are_chosen_and_stay_in_the_address(window, filled):
    page = window.open(f"/console/experiments/{filled.names['experiment']}")
    page.click("summary:text-is('Columns')")
    chosen = page.locator("input[name=column]:checked")
    while chosen.count():
        chosen.first.uncheck()
    page.check("input[name=column][value='params.rate']")
    page.click("details button:text-is('Show')")
    page.wait_for_url("**column=params.rate**")
    assert page.locator("thead th").all_inner_texts()[-1] == "rate"


def test_rows_are_walked_by_keyboard(window, filled):
    page = window.open(f"/console/experiments/{filled.names['experiment']}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.locator("tbody tr").nth(1).locator("input").is_checked()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/runs/**")


def test_curves_follow_what_is_chosen(window, filled):
    page = window.open(f"/console/runs/{filled.names['run']}?tab=charts")
    with page.expect_response(lambda answer: "x=relative" in answer.url):
        page.select_option(".chart-controls select", "relative")
    page.check(".chart-controls input[name=log]")
    assert "log=1" in page.url and "x=relative" in page.url
    page.locator("figure.chart details summary").first.click()
    assert page.locator("figure.chart details").first.locator("tbody tr").count() > 100


def test_a_layout_is_saved_shared_and_removed_by_who_saved_it(window, browser, filled, roles):
    experiment = filled.names["experiment"]
    path = f"/console/experiments/{experiment}"
    page = window.open(path + "?filter=params.depth+%3D+%276%27&column=metrics.val%2Fauc&order=metrics.%60val%2Fauc%60+DESC")
    page.click("summary:has-text('Layouts')")
    page.fill(".layouts input[name=name]:visible", "Best of depth 6")
    page.click("button:text-is('Save layout')")
    page.wait_for_load_state()
    assert page.locator("tbody tr").count() == 3 and "column=metrics.val" in page.url
    saved = events(filled, "experiment.tagged", f"Experiment/{experiment}")[0]
    assert saved["data"]["key"].endswith("Best of depth 6") and saved["caller"] == "local"
    # What charts.js put into the address is saved too.
    page = window.open("/console/compare?" + "&".join(f"run={run}" for run in filled.names["runs"][:2]))
    page.check(".chart-controls input[name=log]")
    page.click("summary:has-text('Layouts')")
    page.fill(".layouts input[name=name]:visible", "Two curves")
    page.click("button:text-is('Save layout')")
    page.wait_for_url("**log=1**")

    other = browser.window(filled.keel.url, token=roles["data-scientist"])
    page = other.open(path)
    page.click("summary:has-text('Layouts')")
    assert page.locator(".layouts a").all_inner_texts() == ["Best of depth 6", "Two curves"]
    assert page.locator(".layouts button:text-is('Remove')").count() == 0
    csrf = page.locator(".layouts input[name=csrf]").first.input_value()
    answer = page.request.post(filled.keel.url + path + "/layouts/remove", form={"csrf": csrf, "name": "Two curves"}, headers={"Origin": filled.keel.url}, max_redirects=0)
    assert answer.status == 409 and "was saved by local" in answer.text()
    answer = page.request.post(filled.keel.url + path + "/layouts", form={"csrf": csrf, "name": "Two curves", "page": "runs"}, headers={"Origin": filled.keel.url}, max_redirects=0)
    assert answer.status == 400 and "choose another name" in answer.text()
    # Nor can it be forged as a tag, whatever name it gives to whom.
    for key in ("keel.layout.Two curves", "keel.layout.Forged"):
        for verb, body in (("set-experiment-tag", {"value": '{"page":"runs","by":"local","query":""}'}), ("delete-experiment-tag", {})):
            answer = requests.post(f"{filled.keel.url}/api/2.0/mlflow/experiments/{verb}", json={"experiment_id": experiment, "key": key} | body, timeout=30,
                                   headers={"Authorization": f"Bearer {roles['data-scientist']}"})
            assert answer.status_code == 400 and "written by Keel alone" in answer.text
    page.click(".layouts a:text-is('Best of depth 6')")
    page.wait_for_url("**filter=**")
    assert page.locator("tbody tr").count() == 3
    other.close()

    page = window.open(path)
    for left in (1, 0):
        page.click("summary:has-text('Layouts')")
        page.locator(".layouts button:text-is('Remove')").first.click()
        page.wait_for_load_state()
        page = window.open(path)
        assert page.locator(".layouts a").count() == left


def test_a_running_run_is_followed(window, filled):
    run = filled.names["live"]
    page = window.open(f"/console/runs/{run}")
    before = page.locator("#metrics tbody td.num").nth(1).inner_text()
    filled.log(run, [("train/loss", 0.001, int(time.time() * 1000), int(before) + 1)])
    page.wait_for_function("before => document.querySelectorAll('#metrics tbody td.num')[1]?.textContent !== before", arg=before, timeout=6000)
    assert page.locator("#metrics tbody td.num").nth(1).inner_text() == str(int(before) + 1)


def test_charts_of_a_running_run_are_followed(window, filled):
    run = filled.names["live"]
    page = window.open(f"/console/runs/{run}?tab=charts")
    with page.expect_request(lambda request: ".json" in request.url, timeout=10_000):
        filled.log(run, [("train/loss", 0.002, int(time.time() * 1000), 10_000)])


def test_a_pipeline_is_started_cancelled_and_run_again(window, filled):
    page = window.open("/console/pipelines/words")
    page.fill("input[name='parameter.loud']", "no")
    # Time to cancel it.
    page.fill("input[name='parameter.pause']", "8")
    page.click("button:text-is('Start')")
    page.wait_for_url("**/console/pipeline-runs/**")
    run = page.url.rsplit("/", 1)[1]
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:text-is('Cancel')")
    page.wait_for_selector("h1 .badge:text-is('cancelled')")
    assert filled.ask("GET", f"/api/v1/runs/{run}")["state"] == "cancelled"
    page.click("button:text-is('Run again')")
    page.wait_for_function("run => location.pathname.includes('/console/pipeline-runs/') && !location.pathname.endsWith(run)", arg=run)
    # It is told when it has ended, without a reload.
    page.wait_for_selector("h1 .badge:text-is('succeeded')", timeout=60_000)
    started = events(filled, "pipeline.run.started", "Pipeline/words")
    assert started[0]["data"]["reason"].startswith("rerun of") and started[1]["data"]["run"] == run


def test_what_is_told_while_a_part_of_the_page_loads_is_not_lost(window, filled):
    page = window.open("/console/models")
    late = []

    def slowly(route):
        answer = route.fetch()
        if not late:
            # The part that is on its way does not know of this one, and its `changed` comes before it does.
            filled.ask("POST", "/api/v1/models", {"name": "told-second"})
            time.sleep(1.5)
        late.append(answer.status)
        route.fulfill(response=answer)

    page.route(lambda address: address.endswith("/console/models"), slowly)
    filled.ask("POST", "/api/v1/models", {"name": "told-first"})
    page.wait_for_selector("#live a:text-is('told-second')", timeout=15_000)
    assert len(late) > 1


def test_a_step_tells_what_it_wrote(window, filled):
    page = window.open(f"/console/pipeline-runs/{filled.names['words']}")
    page.click("table a:text-is('report')")
    page.wait_for_selector("#log pre")
    assert page.locator("#log pre").inner_text().strip() == "<b>done</b>"


def test_a_trigger_is_paused_and_resumed(window, filled):
    page = window.open("/console/triggers")
    row = page.locator("tr", has_text="nightly")
    row.locator("button:text-is('Pause')").click()
    page.wait_for_selector("tr:has-text('nightly') .badge:text-is('paused')")
    assert events(filled, "trigger.paused", "Trigger/nightly")
    page.locator("tr", has_text="nightly").locator("button:text-is('Resume')").click()
    page.wait_for_selector("tr:has-text('nightly') .badge:text-is('active')")
    assert events(filled, "trigger.resumed", "Trigger/nightly")


def test_features_are_looked_up_and_compared(window):
    page = window.open("/console/feature-services/buying")
    page.fill("input[name='field.user']", "u1")
    page.fill("input[name='field.price']", "12.5")
    page.fill("input[name='field.at']", "2024-01-22T23:59:00Z")
    page.click("button:text-is('Look up')")
    page.wait_for_selector("h2:text-is('What a model would get')")
    assert "12.5" in page.locator("section[aria-labelledby=answer-head]").inner_text()
    page.click("button:text('Check buying')")
    page.wait_for_selector("h1:has-text('Parity of buying')")
    assert page.locator("h1 .badge").inner_text() == "online and offline agree"


def test_drift_is_looked_at_by_window_and_column(window):
    page = window.open("/console/monitors/buying")
    page.locator("section[aria-labelledby=alerts-head] tbody a").last.click()
    page.wait_for_url("**until=**")
    with page.expect_navigation():
        page.locator("td.check input:not(:checked)").first.check() if page.locator("td.check input:not(:checked)").count() else page.locator("td.check input").first.uncheck()
    assert "column=" in page.url


def test_lineage_leads_from_the_data_to_what_answers(window):
    page = window.open("/console/lineage?of=Dataset%2Fclicks")
    names = page.locator("svg.drawing text.label").all_text_contents()
    assert {"clicks", "habits", "buying", "buying/1"} <= set(names)
    page.click("svg.drawing a[href^='/console/features/']")
    page.wait_for_url("**/console/features/habits")


def test_lineage_leads_from_a_prediction_to_its_source_and_from_its_release_to_it(window, filled):
    page = window.open(f"/console/endpoints/buying/predictions/{filled.names['prediction']}")
    page.click("p.actions a:text-is('Lineage')")
    page.wait_for_selector("svg.drawing text.label")
    names = set(page.locator("svg.drawing text.label").all_text_contents())
    assert {filled.names["prediction"], "buying/1", "clicks", "habits", "train"} <= names
    page = window.open("/console/lineage?of=Release%2Fbuying%2F1")
    page.wait_for_selector("svg.drawing a[href^='/console/endpoints/buying/predictions/']")


def test_a_parquet_file_is_shown_by_its_first_rows(window, filled):
    page = window.open(filled.pages()["run-parquet"])
    table = page.locator("section[aria-label=Preview] table")
    assert table.locator("thead th").all_inner_texts() == ["user", "price", "note", "tags"]
    assert table.locator("tbody tr").count() == 100 and table.locator("tbody tr").nth(3).locator("td").all_inner_texts() == ["u3", "0.75", "<script>alert(1)</script>", '["a","b"]']
    assert page.locator("p.hint:text-is('Only the beginning is shown.')").is_visible()
    page = window.open(filled.pages()["run-broken-parquet"])
    said = page.locator("section[aria-label=Preview] [role=alert]").inner_text()
    assert "There is no preview" in said and "/work/" not in said and filled.keel.home not in said


def test_search_opens_by_keyboard(window, filled):
    page = window.open("/console")
    page.keyboard.press("Control+k")
    page.keyboard.type("buying")
    page.wait_for_selector("#search-results a.chosen")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "buying" in url)


def test_the_theme_is_kept(window):
    page = window.open("/console")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    window.open("/console/experiments")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("width", [1024, 1440, 1920])
def test_nothing_is_cut_off(window, filled, width):
    window.page.set_viewport_size({"width": width, "height": 800})
    for name in ("home", "runs", "run", "compare", "monitor", "pipeline-run", "dataset", "lineage-endpoint", "run-hostile", "experiment-hostile"):
        page = window.open(filled.pages()[name], drawn=False)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_a_server_that_goes_away_is_noticed_and_found_again(browser, tmp_path):
    from servers import Keel
    server = Keel(home=str(tmp_path)).start()
    window = browser.window(server.url)
    page = window.open("/console")
    server.kill()
    page.wait_for_selector("#connection:visible", timeout=10_000)
    server.start()
    page.wait_for_selector("#connection", state="hidden", timeout=15_000)
    window.close()
    server.stop()


def test_a_rollout_is_paused_and_resumed_with_a_reason(window, filled):
    path = "/console/endpoints/buying"
    run = filled.ask("POST", "/api/v1/pipelines/train/runs", {"parameters": {"trees": 6}})["run"]
    assert filled.wait(run)["state"] == "succeeded"

    def stands():
        return {release["state"]: release["number"] for release in filled.ask("GET", "/api/v1/endpoints/buying/releases")["releases"]}

    candidate = wait(lambda: stands().get("candidate"))
    page = window.open(path)
    page.fill("#pause-reason", "the <labels> are late")
    page.click("button:text-is('Pause')")
    page.wait_for_selector("#paused")
    assert "the <labels> are late" in page.locator("#paused").inner_text() and "local" in page.locator("#paused").inner_text()
    event = events(filled, "rollout.paused", "Endpoint/buying")[0]
    assert event["data"]["reason"] == "the <labels> are late" and event["data"]["release"] == candidate and event["caller"] == "local"
    assert not window.violations()
    told = filled.keel.cli("rollout", "pause", "buying", "--reason", "too", check=False)
    assert told.returncode != 0 and "paused already, by local" in told.stderr
    late = filled.keel.cli("rollout", "resume", "buying", "--expecting", f"{stands()['stable']}/{candidate + 7}", check=False)
    assert late.returncode != 0 and "has changed since you looked" in late.stderr
    assert ", paused" in filled.keel.cli("get", "endpoints").stdout
    page.fill("#resume-reason", "they are here")
    page.click("button:text-is('Resume')")
    page.wait_for_selector("#paused", state="detached")
    assert events(filled, "rollout.resumed", "Endpoint/buying")[0]["data"]["reason"] == "they are here"
    filled.ask("POST", "/api/v1/endpoints/buying/rollback", {"reason": "enough", "expecting": {"stable": stands()["stable"], "candidate": candidate}})
    assert "candidate" not in stands()

"""`keel runs`: what people see of tracked runs in the terminal, and the pictures."""
import fcntl
import math
import os
import pty
import struct
import subprocess
import termios
import xml.etree.ElementTree as xml

import pytest
from servers import KEEL, ROOT, Keel
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image


@pytest.fixture(scope="module")
def sweep():
    """Twelve runs of an experiment, and their ids by name."""
    server = Keel().start()
    client = MlflowClient(server.url)
    experiment = client.create_experiment("sweep")
    ids = {}
    for i in range(12):
        run = client.create_run(experiment, run_name=f"trial-{i}" if i != 5 else "<five> & \"5\" 😀").info.run_id
        losses = [Metric("loss", math.exp(-s / (20 + i)) + 0.01 * i, 1000 + s, s) for s in range(200)]
        client.log_batch(
            run, losses + [Metric("auc", 0.7 + i / 100, 1000, 0)],
            [Param("depth", str(3 + i % 3)), Param("kind", "tree" if i % 2 else "linear"), Param("seed", "4")])
        client.set_terminated(run, "FAILED" if i == 11 else "FINISHED")
        ids[f"trial-{i}"] = run
    client.log_metric(ids["trial-0"], "odd: näme/x", math.nan)
    client.log_text(ids["trial-0"], "hello", "notes/a.txt")
    yield server, ids
    server.stop()


def test_list_filters_orders_and_limits(sweep):
    keel, ids = sweep
    lines = keel.cli("runs", "list", "--experiment", "sweep", "--filter", "metrics.auc > 0.75", "--order", "metrics.auc DESC", "--limit", 3).stdout.splitlines()
    # Ids begin with their time: what tells these apart is their end.
    assert [line.split()[0] for line in lines[1:4]] == [ids[f"trial-{i}"][-8:] for i in (11, 10, 9)]
    assert {"auc", "depth"} <= set(lines[0].split()) and "seed" not in lines[0]
    assert "failed" in lines[1] and "0.81" in lines[1] and lines[4].startswith("(the first 3")
    chosen = keel.cli("runs", "--columns", "params.seed,metrics.nothing").stdout.splitlines()
    assert chosen[0].split()[-3:] == ["seed", "nothing", "DURATION"] and len(chosen) == 13
    assert len(keel.json("runs", "list", "--limit", "5")["runs"]) == 5


def test_list_draws_the_course_of_a_metric(sweep):
    keel, _ = sweep
    lines = keel.cli("runs", "list", "--history", "loss", "--limit", 4).stdout.splitlines()
    assert all("█" in line and "▁" in line for line in lines[1:5])
    wrong = keel.cli("runs", "list", "--history", "los", check=False)
    assert wrong.returncode != 0 and "did you mean 'loss'?" in wrong.stderr


def test_tables_fit_the_terminal(sweep):
    keel, _ = sweep
    for arguments in (["list", "--history", "loss"], ["compare", "trial-0", "trial-1", "trial-2", "trial-3", "trial-4"], ["show", "trial-0"]):
        text = keel.cli("runs", *arguments, environment={"COLUMNS": "80"}).stdout
        wide = [line for line in text.splitlines() if len(line) > 80]
        assert not wide or arguments[0] == "show" and all(line.startswith("artifacts") for line in wide), wide
        assert "trial-0" in text
    narrow = keel.cli("runs", "list", environment={"COLUMNS": "50"}).stdout
    assert "(no room for " in narrow and "DURATION" not in narrow.splitlines()[0]


def test_a_terminal_says_how_wide_it_is(sweep):
    keel, _ = sweep
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"KEEL_URL": keel.url}
    subprocess.run([str(ROOT / KEEL), "runs", "list", "--history", "loss"], stdout=theirs, env=environment, check=True, timeout=60)
    lines = os.read(ours, 1 << 16).decode().splitlines()
    os.close(ours), os.close(theirs)
    assert len(lines) > 12 and max(map(len, lines)) <= 60 and lines[-1].startswith("(no room for ")


def test_names_cannot_move_the_cursor(sweep):
    keel, _ = sweep
    client = MlflowClient(keel.url)
    run = client.create_run(client.create_experiment("evil"), run_name="red \x1b[31mred\nline").info.run_id
    client.log_param(run, "p", "\x1b]0;title\x07")
    for arguments in (["list", "--experiment", "evil"], ["show", run], ["compare", run]):
        assert "\x1b" not in keel.cli("runs", *arguments).stdout, arguments


def test_show_takes_ids_their_beginnings_and_names(sweep):
    keel, ids = sweep
    run = ids["trial-3"]
    others = [i for i in ids.values() if i != run]
    prefix = next(run[:n] for n in range(1, 33) if not any(i.startswith(run[:n]) for i in others))
    for name in (run, prefix, "trial-3"):
        assert run in keel.cli("runs", "show", name).stdout
    text = keel.cli("runs", "show", "trial-0").stdout
    assert "█" in text and "▁" in text and "odd: näme/x" in text and "NaN" in text
    assert "notes/" in text and "a.txt  5 B" in text and "kind" in text and "200" in text
    answer = keel.json("runs", "show", "trial-0")
    assert answer["history"]["loss"]["points"] == 200 and answer["history"]["loss"]["max"] == 1.0
    assert {f["path"] for f in answer["artifacts"]} == {"notes", "notes/a.txt"}


def test_unknown_things_are_answered_with_help(sweep):
    keel, _ = sweep
    cases = {
        ("show", "nothing"): "keel runs list", ("show", "0" * 32): "there is no run", ("show", "it's"): "there is no run",
        ("list", "--experiment", "swep"): "did you mean 'sweep'?", ("list", "--columns", "auc"): "is not a column",
        ("list", "--filter", "metrics.auc >"): "filter", ("list", "--limit", "0"): "1 to 10000", ("compare",): "name the runs",
        ("compare", "trial-1", "--plot", "x.gif"): ".svg or .png", ("compare", "trial-1", "--plot", "/nowhere/x.svg"): "could not write",
        ("compare", "trial-1", "--plot", "x.svg", "--metric", "nope"): "none of these runs", ("compare", "trial-1", "--metric", "loss"): "--plot",
        ("compare", "trial-1", "--plot", "x.svg", "--parallel", "metrics.nope"): "none of these runs",
        ("show", "rial-1"): "names like it: trial-1", ("compare", "trial-1", "--plot", "x.svg", "--metric", "lss"): "did you mean 'loss'?",
        ("compare", "trial-1", "--plot", "x.svg", "--parallel", "metrics.auc", "--log"): "choose one",
    }
    for arguments, words in cases.items():
        done = keel.cli("runs", *arguments, check=False)
        assert done.returncode != 0 and words in done.stderr, (arguments, done.stderr)


def test_compare_says_what_differs_and_which_is_best(sweep):
    keel, ids = sweep
    answer = keel.json("runs", "compare", "trial-1", "trial-4")
    rows = {row["key"]: row for row in answer["rows"]}
    assert rows["metrics.auc"]["direction"] == "maximize" and rows["metrics.auc"]["best"] == [ids["trial-4"]]
    assert rows["metrics.loss"]["direction"] == "minimize" and rows["metrics.loss"]["best"] == [ids["trial-1"]]
    assert not rows["params.seed"]["differs"] and answer["rows"][-1]["key"] in ("params.seed", "params.depth")
    turned = keel.json("runs", "compare", "trial-1", "trial-4", "--minimize", "auc")
    assert {row["key"]: row for row in turned["rows"]}["metrics.auc"]["best"] == [ids["trial-1"]]
    text = keel.cli("runs", "compare", "trial-1", "trial-4").stdout
    assert "0.71" in keel.cli("runs", "compare", "trial-1").stdout
    assert "0.74 *" in text and "█" in text and text.index("params.kind") < text.index("The same") < text.index("params.seed")


@pytest.mark.parametrize("more", [
    ["--metric", "loss"], ["--metric", "loss", "--log"], ["--metric", "auc"], [], ["--parallel", "params.kind,params.depth,metrics.loss,metrics.auc"], ["--metric", "odd: näme/x"]])
def test_plots_are_pictures(sweep, tmp_path, more):
    keel, _ = sweep
    for name in ("plot.svg", "plot.png"):
        keel.cli("runs", "compare", "--experiment", "sweep", "--plot", tmp_path / name, *more)
    root = xml.parse(tmp_path / "plot.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [t.text for t in root.iter(space + "text")]
    assert root.tag == space + "svg" and len(list(root.iter(space + "polyline"))) > 3
    if "--parallel" in more:
        assert {"params.kind", "tree", "linear", "metrics.auc"} <= set(texts)
    elif "auc" in more or "odd: näme/x" in more:
        assert ({"trial-3", "0.73"} if "auc" in more else {"trial-0", "NaN"}) <= set(texts)
        assert len(list(root.iter(space + "circle"))) == (12 if "auc" in more else 0)
    else:
        assert "step" in texts and any(t.startswith(more[1] if more else "loss") for t in texts)
    with Image.open(tmp_path / "plot.png") as picture:
        picture.load()
        assert picture.width == 1920 and picture.mode == "RGB" and picture.getpixel((2, 2)) == (255, 255, 255)
        assert len(picture.getcolors(1 << 22)) > 8

"""The programs of steps on a running server: what they reach, how they end, and who may have them run."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests

import bundles
import project
from servers import KEEL, Keel, free_port


def pipeline(name, *steps):
    return json.dumps({"apiVersion": "keel/v1", "kind": "Pipeline", "metadata": {"name": name}, "spec": {"steps": list(steps)}})


def shell(run, name="work", **more):
    return {"name": name, "uses": "shell", "with": {"run": run} | more.pop("with_", {})} | more


def trigger(name, run, when="schedule 0 0 29 2 *"):
    return json.dumps({"apiVersion": "keel/v1", "kind": "Trigger", "metadata": {"name": name}, "spec": {"when": when, "run": run}})


def apply(keel, folder, *documents, **options):
    file = pathlib.Path(folder, "steps.yaml")
    file.write_text("\n---\n".join(documents))
    return keel.cli("apply", file, **options)


def start(keel, name):
    answer = keel.post(f"/api/v1/pipelines/{name}/runs")
    assert answer.status_code == 202, answer.text
    return answer.json()["run"]


def run_of(keel, run):
    return keel.get(f"/api/v1/runs/{run}").json()


def wait(body, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := body():
            return found
        time.sleep(0.02)
    raise AssertionError("what was waited for did not come")


def ended(keel, run):
    return wait(lambda: (found := run_of(keel, run))["state"] != "running" and found)


def log_of(keel, run, step="work"):
    return "\n".join(keel.get(f"/api/v1/runs/{run}/steps/{step}/log").json()["lines"])


def test_g6_a_server_with_its_default_home_runs_programs(tmp_path):
    # Where there is no sandbox, programs run as another user, who must be able to come here.
    for folder in [tmp_path, tmp_path.parent, tmp_path.parent.parent]:
        folder.chmod(0o755)
    (tmp_path / "script.py").write_text("import os, json; json.dump({'here': os.getcwd()}, open(os.environ['KEEL_OUTPUT'], 'w'))\n")
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")}
    server = subprocess.Popen([str(KEEL), "serve", "--listen", f"127.0.0.1:{port}"], cwd=tmp_path, env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keel = Keel(home=str(tmp_path / ".keel"))
    keel.url = f"http://127.0.0.1:{port}"
    try:
        def healthy():
            try:
                return requests.get(keel.url + "/health", timeout=1).ok
            except requests.ConnectionError:
                return False
        wait(healthy)
        apply(keel, tmp_path, pipeline("p", shell("echo '{\"a\": 1}' > $KEEL_OUTPUT", "shell"),
                                       {"name": "script", "uses": "python", "with": {"script": "script.py"}},
                                       {"name": "code", "uses": "python", "with": {"code": "print('code')"}}))
        run = ended(keel, start(keel, "p"))
        assert run["state"] == "succeeded", run
        assert run["steps"][1]["outputs"]["here"] == str(tmp_path / ".keel" / "work" / run["id"] / "script")
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_v7_a_step_never_runs_beside_its_retry_over_20_kills(tmp_path, sandbox):
    """Every attempt writes its begin and, every few milliseconds, that it lives; two at once would write between each other."""
    keel = Keel(environment={"KEEL_PIPELINES_SANDBOX": sandbox}).start()
    program = """
import os, time
def say(word):
    with open("said", "a") as file: file.write(f"{os.environ['KEEL_ATTEMPT']} {word}\\n")
say("begin")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: say("daemon"); time.sleep(0.005)
    os._exit(0)
while True: say("lives"); time.sleep(0.005)
"""
    said, starts = [], 0
    for _ in range(10):
        apply(keel, tmp_path, pipeline(f"p{starts}", {"name": "work", "uses": "python", "with": {"code": program}}))
        run = start(keel, f"p{starts}")
        file = pathlib.Path(keel.home, "work", run, "work", "said")
        # Two kills a run: after a third it would be given up.
        for attempt in (1, 2):
            wait(lambda: file.exists() and f"{attempt} daemon" in file.read_text())
            keel.kill()
            keel = Keel(home=keel.home, environment=keel.environment).start()
            starts += 1
        wait(lambda: "3 daemon" in file.read_text())
        keel.cli("cancel", run)
        attempts = [int(line.split()[0]) for line in file.read_text().splitlines()]
        assert attempts == sorted(attempts), "an attempt wrote after the next one had begun"
        size = file.stat().st_size
        time.sleep(0.05)
        assert file.stat().st_size == size, "a process lives on after the run was cancelled"
    assert starts == 20
    keel.stop()


def test_d11_a_step_that_kills_its_server_is_given_up(tmp_path):
    keel = Keel(environment={"KEEL_PIPELINES_SANDBOX": "none"}).start()
    # In no sandbox, as the server's own user, a program can do this: the server is its supervisor's parent.
    apply(keel, tmp_path, pipeline("p", shell("sleep 0.3; kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 1000")))
    run = start(keel, "p")
    for _ in range(3):
        keel.process.wait(timeout=60)
        keel = Keel(home=keel.home, environment=keel.environment).start()
    found = run_of(keel, run)
    assert found["state"] == "failed" and "the server ended 3 times while this step ran" in found["error"]
    assert found["steps"][0]["attempts"] == 3 and found["steps"][0]["interruptions"] == 3
    keel.stop()


# It works in no changed root, nor where namespaces are forbidden.
HAS_SANDBOX = shutil.which("bwrap") is not None and subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not HAS_SANDBOX, reason="bubblewrap has to work on the machine")
def test_a5_a_step_reads_and_changes_nothing_of_the_server(tmp_path):
    keel = Keel(environment={"AWS_SECRET_ACCESS_KEY": "the-servers-own-secret"}).start()
    pid, home = keel.process.pid, keel.home
    attacks = {
        "key": f"cat {home}/secrets.key", "database": f"cat {home}/keel.sqlite", "environ": f"cat /proc/{pid}/environ",
        "memory": f"head -c 1 /proc/{pid}/mem", "kill": f"kill -0 {pid}", "write": f"touch {home}/x && ls {home}/keel.sqlite",
        "parent": "tr '\\0' '\\n' < /proc/$PPID/environ | grep AWS_SECRET", "variable": "env | grep AWS_SECRET", "system": "touch /usr/x",
        "project": "touch $KEEL_PROJECT/x",
    }
    apply(keel, tmp_path, pipeline("p", *[shell(f"if {attack}; then exit 1; fi", name, cache=False) for name, attack in attacks.items()]))
    run = ended(keel, start(keel, "p"))
    assert run["state"] == "succeeded", [(s["name"], s.get("error")) for s in run["steps"] if s["state"] != "succeeded"]
    user = ", as the user nobody" if os.geteuid() == 0 else ", as the server's own user"
    allowed = {"outputs": "echo '{}' > $KEEL_OUTPUT", "temporary": "echo x > $TMPDIR/x; echo x > /tmp/x; echo x > /dev/shm/x",
               "python": "python3 -c 'import multiprocessing; multiprocessing.Lock()'"}
    apply(keel, tmp_path, pipeline("own", *[shell(command, name) for name, command in allowed.items()]))
    run = ended(keel, start(keel, "own"))
    assert run["state"] == "succeeded", run
    assert "programs of steps run in this isolation: bwrap" + user in keel.log(), keel.log()
    assert requests.get(keel.url + "/health", timeout=5).ok and not pathlib.Path(home, "x").exists()
    keel.stop()


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_a5_a_step_without_its_token_is_nobody(tmp_path, sandbox):
    """Also where it runs as the server's own user, whose programs need no token."""
    keel = Keel(environment={"KEEL_PIPELINES_SANDBOX": sandbox}).start()
    code = f"""
import json, os, subprocess, sys, urllib.error, urllib.request
def ask():
    body = json.dumps({{"name": "mine", "persona": "owner"}}).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request("{keel.url}/api/v1/tokens", body, {{"Content-Type": "application/json"}})).status
    except urllib.error.HTTPError as refused:
        return refused.code
if len(sys.argv) > 1:
    open("answer", "w").write(str(ask()))
else:
    # By itself, and by a daemon that has left its session and its parents.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, __file__, "daemon"])
        os._exit(0)
    os.wait()
    import time
    while not os.path.exists("answer") or not open("answer").read(): time.sleep(0.01)
    json.dump({{"itself": ask(), "daemon": int(open("answer").read())}}, open(os.environ["KEEL_OUTPUT"], "w"))
"""
    apply(keel, tmp_path, pipeline("p", {"name": "work", "uses": "python", "with": {"code": code}}, shell("sleep 1000", "other")))
    run = start(keel, "p")
    work = wait(lambda: [s for s in run_of(keel, run)["steps"] if s["name"] == "work" and s["state"] != "running" and s["state"] != "pending"])[0]
    assert work["outputs"] == {"itself": 401, "daemon": 401}, work
    # The person at the machine is the owner meanwhile.
    assert keel.cli("tokens", "list").returncode == 0
    keel.cli("cancel", run)
    keel.stop()


def test_a5_without_isolation_the_server_says_so_at_its_start():
    keel = Keel(environment={"KEEL_PIPELINES_SANDBOX": "none"}).start()
    assert "programs of steps can read what the server's user can" in keel.log()
    keel.stop()
    done = subprocess.run([str(KEEL), "serve", "--home", keel.home, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ) | {"KEEL_PIPELINES_SANDBOX": "jail"})
    assert done.returncode != 0 and "pipelines.sandbox" in done.stderr and "auto, bwrap, user, none" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")
def test_a5_another_user_without_a_sandbox(tmp_path):
    home = pathlib.Path("/var/tmp") / f"keel-{os.getpid()}-{time.time_ns()}"
    home.mkdir(mode=0o700)
    keel = Keel(home=str(home), environment={"KEEL_PIPELINES_SANDBOX": "user", "KEEL_PIPELINES_USER": "nobody"})
    # The user can read the project's folder only where others may.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | keel.environment | {"PATH": "/usr/bin:/bin"}
    keel.process = subprocess.Popen([str(KEEL), "serve", "--home", keel.home, "--listen", f"127.0.0.1:{keel.port}"], cwd="/var/tmp",
                                    env=environment, stderr=open(home / "server.log", "ab"))
    wait(lambda: "keel 0" in keel.log() or keel.process.poll() is not None)
    attacks = {"key": f"cat {home}/secrets.key", "database": f"cat {home}/keel.sqlite", "kill": f"kill -0 {keel.process.pid}",
               "environ": f"cat /proc/{keel.process.pid}/environ", "write": f"touch {home}/x"}
    apply(keel, tmp_path, pipeline("p", *[shell(f"if {attack}; then exit 1; fi", name) for name, attack in attacks.items()],
                                   shell("id -un > me; echo '{\"a\": 1}' > $KEEL_OUTPUT", "own")))
    run = ended(keel, start(keel, "p"))
    assert run["state"] == "succeeded", [(s["name"], s.get("error")) for s in run["steps"] if s["state"] != "succeeded"]
    assert (home / "work" / run["id"] / "own" / "me").read_text() == "nobody\n"
    keel.stop()


def test_a5_who_may_not_run_code_declares_none(guarded, tmp_path):
    server, tokens = guarded
    owner, engineer = tokens["owner"], tokens["platform-engineer"]
    program = pipeline("theirs", shell("id"))

    def refused(document):
        done = apply(server, tmp_path, document, token=engineer, check=False)
        return done.returncode != 0 and "may not pipelines.run" in done.stderr

    assert refused(program)
    apply(server, tmp_path, program, token=owner)
    assert refused(trigger("theirs", "theirs"))
    # What is there already and does not change is nobody's new declaration; a change of it is.
    apply(server, tmp_path, program, token=engineer)
    assert refused(pipeline("theirs", shell("id; id")))
    apply(server, tmp_path, pipeline("theirs", shell("true")), token=owner)
    restored = requests.post(server.url + "/api/v1/resources/pipelines/theirs/restore", json={"revision": 1},
                             headers={"Authorization": f"Bearer {engineer}"}, timeout=30)
    assert restored.status_code == 403
    denied = server.json("ledger", "--kind", "access.denied", token=owner)["events"]
    assert any(e["subject"] == "Trigger/theirs" and e["caller"] == "platform-engineer" for e in denied)


def test_a5_a_trigger_ends_with_its_authors_token(guarded, tmp_path):
    server, tokens = guarded
    owner = tokens["owner"]
    author = server.cli("tokens", "create", "author-of-a-trigger", "--persona", "ml-engineer", token=owner).stdout.strip()
    dataset = {"apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "ticks"},
               "spec": {"eventTime": "at", "key": ["id"], "columns": [{"name": "id", "type": "int64"}, {"name": "at", "type": "timestamp"}]}}
    apply(server, tmp_path, json.dumps(dataset), pipeline("tick", shell("true")), trigger("tick", "tick", "dataset/ticks snapshot"), token=author)
    data = tmp_path / "ticks.csv"

    def events(kind):
        return [e for e in server.json("ledger", "--kind", kind, token=owner)["events"] if e["subject"] == "Trigger/tick"]

    data.write_text("id,at\n1,2024-01-01\n")
    server.cli("ingest", "ticks", data, token=owner)
    assert wait(lambda: events("trigger.fired"))[0]["data"]["author"] == "author-of-a-trigger"
    server.cli("tokens", "revoke", "author-of-a-trigger", token=owner)
    data.write_text("id,at\n2,2024-01-02\n")
    server.cli("ingest", "ticks", data, token=owner)
    assert "was revoked or has expired" in wait(lambda: events("trigger.skipped"))[0]["data"]["reason"]
    assert len(events("trigger.fired")) == 1


def test_a9_nothing_that_a_step_wrote_stands_in_the_ledger(keel, tmp_path):
    apply(keel, tmp_path, pipeline("p", shell("echo a-line-of-its-own $KEEL_TOKEN; echo $API_KEY; exit 1", with_={"env": {"API_KEY": "0123456789abc"}})))
    run = ended(keel, start(keel, "p"))
    assert run["state"] == "failed" and "a-line-of-its-own" not in json.dumps(run)
    assert log_of(keel, run["id"]) == "a-line-of-its-own [secret]\n[secret]"
    ledger = keel.json("ledger")["events"]
    assert "a-line-of-its-own" not in json.dumps(ledger)
    finished, = [e for e in ledger if e["kind"] == "pipeline.step.finished"]
    assert finished["data"]["log"]["lines"] == 2


def test_cancel_logs_and_describe_take_the_beginning_of_an_id(keel, tmp_path):
    apply(keel, tmp_path, pipeline("p", shell("echo one; printf 'two \\033[31mred\\n'; sleep 1000 & echo $! > pid; wait")))
    run = start(keel, "p")
    short = run[:13]
    wait(lambda: "two" in log_of(keel, run))
    follower = subprocess.Popen([str(KEEL), "logs", short, "-f", "--url", keel.url], stdout=subprocess.PIPE, text=True)
    shown = keel.cli("logs", short, "work").stdout
    assert "one" in shown and "red" in shown and "\033" not in shown
    described = keel.cli("describe", "run", short).stdout
    assert run in described and "running" in described and "work" in described
    cancelled = keel.cli("cancel", short).stdout
    assert "cancelled" in cancelled
    assert follower.communicate(timeout=60)[0].splitlines()[0].endswith("one") and follower.returncode == 0
    assert keel.cli("cancel", short, check=False).returncode == 1
    described = keel.json("describe", "run", short)
    assert described["state"] == "cancelled" and described["steps"][0]["state"] == "cancelled"
    assert keel.cli("logs", "nothing", check=False).returncode == 1 and keel.cli("logs", short, "wrk", check=False).returncode == 1


def test_a_failed_run_shows_the_end_of_its_log(keel, tmp_path):
    apply(keel, tmp_path, pipeline("p", shell("for i in $(seq 100); do echo line $i; done; exit 3")))
    done = keel.cli("run", "p", check=False)
    assert done.returncode == 1 and "exit code 3" in done.stdout + done.stderr
    assert "line 100" in done.stdout + done.stderr and "line 50\n" not in done.stdout + done.stderr
    run = re.search(r"run ([0-9a-f-]{36}) failed", done.stdout)[1]
    assert "line 100" in keel.cli("describe", "run", run).stdout


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_end_it(keel, tmp_path):
    apply(keel, tmp_path, pipeline("p", shell("echo begun; sleep 1000")))
    watcher = subprocess.Popen([str(KEEL), "run", "p", "--url", keel.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = wait(lambda: keel.get("/api/v1/runs").json()["runs"])[0]["id"]
    wait(lambda: "begun" in log_of(keel, run))
    watcher.send_signal(signal.SIGINT)
    said = ""
    while "keel cancel" not in said:
        said += watcher.stderr.readline()
    assert f"keel cancel {run}" in said and watcher.poll() is None
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=60) == 130
    assert run_of(keel, run)["state"] == "running"
    keel.cli("cancel", run)


def test_a_paused_trigger_fires_again_when_it_is_resumed(keel, tmp_path):
    apply(keel, tmp_path, pipeline("p", shell("true")), trigger("t", "p"))
    assert "paused" in keel.cli("pause", "trigger", "t").stdout
    assert keel.cli("pause", "trigger", "t", check=False).returncode == 1
    assert "paused" in keel.cli("get", "triggers").stdout
    keel.stop()
    again = Keel(home=keel.home).start()
    assert again.json("get", "triggers")["triggers"][0]["state"] == "paused"
    again.cli("resume", "trigger", "t")
    assert again.json("get", "triggers")["triggers"][0]["state"] == "active"
    assert [e["kind"] for e in again.json("ledger", "--subject", "Trigger/t")["events"] if e["kind"] != "trigger.skipped"] in (
        ["trigger.paused", "trigger.resumed"], ["trigger.resumed", "trigger.paused"])
    assert again.cli("pause", "pipeline", "p", check=False).returncode != 0
    again.stop()


def test_g5_an_unrelated_dataset_leaves_the_cache_alone(keel, tmp_path):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    assert keel.json("run", "train")["state"] == "succeeded"
    other = {"apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "unrelated"},
             "spec": {"columns": [{"name": "x", "type": "int64"}], "key": ["x"], "eventTime": "at"}}
    other["spec"]["columns"].append({"name": "at", "type": "timestamp"})
    apply(keel, tmp_path, json.dumps(other))
    states = {s["name"]: (s["state"], s.get("cache")) for s in keel.json("run", "train")["steps"]}
    assert states["examples"][0] == "cached" and states["fit"][0] == "cached", states


@pytest.mark.parametrize("part", [
    {"path": "../work/x/holdout.parquet"}, {"path": "training/0123-holdout.parquet", "digest": "00"}, {"path": "/etc/passwd"}])
def test_a_program_cannot_hand_keel_the_rows_to_measure_on(keel, tmp_path, part):
    """Numbers that `evaluate` gives are Keel's own: it reads what a training-set step of the run made, and no path that a program wrote."""
    bundle = bundles.store(keel, "forged", bundles.stump(), "xgboost")
    output = json.dumps({"model": {"bundle": bundle}, "holdout": part})
    apply(keel, tmp_path, pipeline("forge", shell(f"printf '%s' '{output}' > $KEEL_OUTPUT", "made"),
                                   {"name": "evaluate", "uses": "evaluate", "with": {"model": "$made.model", "data": "$made.holdout"}}))
    run = ended(keel, start(keel, "forge"))
    assert run["state"] == "failed" and "is not what a training-set step of this run made" in run["error"], run


def test_a5_a_home_behind_a_link_is_isolated_as_any_other(tmp_path):
    # In a folder that every user may enter.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keel-conformance-"))
    folder.chmod(0o755)
    disk = folder / "disk"
    disk.mkdir()
    (folder / "home").symlink_to(disk)
    keel = Keel(home=str(folder / "home")).start()
    apply(keel, tmp_path, pipeline("p", shell(f"if cat {disk}/secrets.key; then exit 1; fi")))
    run = ended(keel, start(keel, "p"))
    # Where no sandbox works, a server that is not root says so, and one of root runs nothing.
    isolated = "programs of steps can read" not in keel.log()
    assert run["state"] == "succeeded" if isolated else os.geteuid() != 0, (run, keel.log())
    assert f"home {disk}" in keel.log()
    keel.stop()

"""`keel init`: a project that works as it is written, from a made-up table and from a file of one's own."""
import json
import os
import re
import shlex
import subprocess

import pytest

from servers import KEEL


def run(keel, folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_") or k.endswith("_LIB")} | {"KEEL_URL": keel.url}
    return subprocess.run([KEEL, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def follow(keel, folder, printed):
    """Runs the commands that the answer names, as a person would, and returns what the last one wrote."""
    for line in re.findall(r"^  keel (.*)$", printed, re.M):
        done = run(keel, folder, *shlex.split(line))
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_a_project_of_nothing_works_as_it_is_written(keel, tmp_path):
    done = run(keel, tmp_path, "init", "churn")
    assert done.returncode == 0, done.stderr
    assert re.search(r"churned +int64 +what is predicted", done.stdout) and re.search(r"customer +string +whom a row is about", done.stdout)
    assert re.search(r"\d\.\d+ +churn/1", follow(keel, tmp_path, done.stdout))
    # All rows keep the contract that was suggested from them, and the readme has the same commands.
    snapshot, = json.loads(run(keel, tmp_path, "get", "snapshots", "churn", "--json").stdout)["snapshots"]
    assert snapshot["rows"] == 3000
    assert all(line in (tmp_path / "churn/README.md").read_text() for line in re.findall(r"^  (keel .*)$", done.stdout, re.M))
    again = run(keel, tmp_path, "init", "churn")
    assert again.returncode == 1 and "there is a 'churn' already" in again.stderr


def payments(path, rows=400):
    """Quoted fields, names that YAML reads as something else, missing values, two columns of instants."""
    lines = ['"no",card,"paid at",booked,amount,"note",fraud']
    for i in range(rows):
        amount = (i * 37) % 400 / 4
        lines.append(f'{i},"c{i % 40}",2025-03-{1 + i // 20:02d}T{i % 20:02d}:00:00Z,2025-03-{1 + i // 20:02d}T{i % 20:02d}:30:00Z,'
                     f'{"" if i % 50 == 7 else amount},"said ""no"", twice",{int(amount > 60)}')
    path.write_text("\n".join(lines) + "\n")


def test_a_file_of_ones_own(keel, tmp_path):
    payments(tmp_path / "payments.csv")
    asked = run(keel, tmp_path, "init", "fraud", "--from", "payments.csv")
    assert asked.returncode == 1 and "more than one column holds instants: paid at, booked" in asked.stderr and "--time COLUMN" in asked.stderr
    assert not (tmp_path / "fraud").exists()
    done = run(keel, tmp_path, "init", "fraud", "--from", "payments.csv", "--time", "booked")
    assert done.returncode == 0, done.stderr
    contract = (tmp_path / "fraud/dataset.yaml").read_text()
    assert '{ name: "no", type: int64' in contract and '{ name: amount, type: float64, nullable: true' in contract
    assert '{ name: fraud, type: int64, oneOf: ["0", "1"] }' in contract and 'key: ["no"]' in contract
    assert re.search(r"\d\.\d+ +fraud/1", follow(keel, tmp_path, done.stdout))


@pytest.mark.parametrize("text,options,words", [
    ("a,b\n", [], "no rows below its header"),
    ("a,a\n1,2\n", [], "two columns of the file have one name"),
    ("a,b\n1\n", [], "row 2 of the file has 1 fields, its header 2"),
    ("who,at,y\na,2025-01-01,0\n", ["--label", "z"], "the file has no column 'z'"),
    ("who,at,y\na,2025-01-01,5\nb,2025-01-02,6\n", [], "no column is 0 or 1"),
    ("who,at,y\na,2025-01-01,0\nb,2025-01-02,1\n", ["--label", "who"], "the column 'who' is not one that is 0 or 1")])
def test_what_cannot_be_made_a_project_is_said(shared_keel, tmp_path, text, options, words):
    (tmp_path / "table.csv").write_text(text)
    done = run(shared_keel, tmp_path, "init", "thing", "--from", "table.csv", *options)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not (tmp_path / "thing").exists()

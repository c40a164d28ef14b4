"""A home that a newer version of Keel has migrated: opened when it says that this version may, refused with words otherwise, and the words show the way back."""
import contextlib
import os
import pathlib
import re
import sqlite3
import subprocess

from servers import KEEL, Keel


def change(home, *statements):
    with contextlib.closing(sqlite3.connect(pathlib.Path(home, "keel.sqlite"))) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def keel(*arguments):
    return subprocess.run([KEEL, *arguments], capture_output=True, text=True, env={k: v for k, v in os.environ.items() if not k.startswith("KEEL_")})


def names(server):
    return set(re.findall(r"^(\w+) ", server.cli("tokens", "list").stdout, re.M)) & {"before", "after", "later"}


def test_a_downgrade_by_one_version():
    server = Keel().start()
    server.cli("tokens", "create", "before", "--persona", "owner")
    server.stop()
    # What the next version does: a copy, a column, and the note of both.
    copy = pathlib.Path(server.home, "backups", "keel-1700000000000.sqlite")
    copy.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(pathlib.Path(server.home, "keel.sqlite"))) as database, contextlib.closing(sqlite3.connect(copy)) as target:
        database.backup(target)
    change(server.home, "ALTER TABLE releases ADD COLUMN weather TEXT", f"INSERT INTO keel_migrations VALUES ('serving', 99, 1, 1, '9.9.9', '{copy.name}')")
    server.start()
    server.cli("tokens", "create", "after", "--persona", "owner")
    assert names(server) == {"before", "after"}
    server.stop()

    change(server.home, "UPDATE keel_migrations SET backward_compatible = 0 WHERE version = 99")
    refused = keel("serve", "--home", server.home, "--listen", f"127.0.0.1:{server.port}")
    assert refused.returncode == 1 and "was used by a newer version of Keel, 9.9.9: its tables of 'serving' are at step 99" in refused.stderr, refused.stderr
    command, = re.findall(r"keel (restore \S+ --home \S+)$", refused.stderr, re.M)
    assert str(copy) in command
    done = keel(*command.split())
    assert done.returncode == 0, done.stderr
    replaced, = pathlib.Path(server.home, "backups").glob("*-replaced.sqlite")
    assert str(replaced) in done.stdout
    server.start()
    assert names(server) == {"before"}
    server.cli("tokens", "create", "later", "--persona", "owner")
    assert names(server) == {"before", "later"}
    # The end that was lost had been signed, and that is said.
    verified = server.cli("ledger", "verify", check=False)
    assert verified.returncode == 1 and "is not the one that was signed" in verified.stdout + verified.stderr
    server.stop()

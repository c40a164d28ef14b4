"""The documentation in the terminal, and what shells and `man` are given."""
import re
import shutil
import subprocess

import pytest

from servers import KEEL, ROOT


def keel(*arguments):
    return subprocess.run([KEEL, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_the_pages_are_listed_read_and_searched():
    listed = keel("docs").stdout
    assert re.search(r"^serving +\S", listed, re.M) and re.search(r"^settings +\S", listed, re.M)
    assert keel("docs", "serving").stdout.strip() == (ROOT / "docs/serving.md").read_text().strip()
    found = keel("docs", "CANARY", "shares").stdout.splitlines()
    assert found and all("canary" in line.lower() and "shares" in line.lower() for line in found)
    page, number, text = found[0].split(":", 2)
    folder = "docs/reference" if not (ROOT / f"docs/{page}.md").exists() else "docs"
    assert (ROOT / folder / f"{page}.md").read_text().split("\n")[int(number) - 1] == text[1:]
    nothing = keel("docs", "xyzzy")
    assert nothing.returncode == 1 and "no line of the documentation holds 'xyzzy'" in nothing.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_commands(shell):
    script = keel("--generate-completion-script", shell).stdout
    assert "demo" in script and "serve" in script
    if shell == "bash":
        asked = script + '\nCOMP_WORDS=(keel de); COMP_CWORD=1; COMP_LINE="keel de"; COMP_POINT=7; _keel keel de keel; echo "${COMPREPLY[@]}"\n'
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
        assert set(done.stdout.split()) == {"demo", "deploy", "delete", "describe"}, done.stdout + done.stderr
    elif shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True).returncode == 0


def test_the_man_page_names_every_command(packages, tmp_path):
    deb, = packages.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    page = subprocess.run(["gzip", "-dc", tmp_path / "usr/share/man/man1/keel.1.gz"], capture_output=True, text=True).stdout
    commands = re.findall(r"^## (.*)$", (ROOT / "docs/reference/commands.md").read_text(), re.M)
    assert len(commands) > 30
    for command in commands:
        assert f'.SH "{command.upper().replace("-", chr(92) + "-")}"\n' in page, command
    for file in ("bash-completion/completions/keel", "zsh/vendor-completions/_keel", "fish/vendor_completions.d/keel.fish"):
        assert (tmp_path / "usr/share" / file).stat().st_size > 1000


def test_no_page_asks_a_public_index_for_a_name_of_ours():
    """Whoever takes such a name there would be installed instead: pages give files, or close the index."""
    commands = [line for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] for line in re.findall(r"pip install [^`\n]*", page.read_text())]
    ours = [command for command in commands if re.search(r"keel-ml\b", command)]
    assert ours and all("--no-index" in command for command in ours), ours

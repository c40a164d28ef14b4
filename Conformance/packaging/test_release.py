"""The tarball, the Debian package and what makes them trusted: sums, a signature, a bill of materials."""
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile

import pytest

from machine import unpack
from servers import ROOT, free_port


def one(folder, pattern):
    path, = folder.glob(pattern)
    return path


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def unpacked(packages, tmp_path):
    """The trees of the tarball, the Debian package and the wheel."""
    unpack(one(packages, "keel-*.tar.gz"), tmp_path / "tar")
    subprocess.run(["dpkg-deb", "--extract", one(packages, "*.deb"), tmp_path / "deb"], check=True)
    with zipfile.ZipFile(one(packages, "keel_ml-*.whl")) as archive:
        archive.extractall(tmp_path / "wheel")
    return one(tmp_path / "tar", "keel-*"), tmp_path / "deb" / "usr/lib/keel", tmp_path / "wheel" / "keel"


def test_all_packages_hold_the_same(packages, tmp_path):
    tar, deb, wheel = (digests(tree) for tree in unpacked(packages, tmp_path))
    assert tar == deb and len(tar) > 30
    assert {name: digest for name, digest in wheel.items() if name.startswith(("bin", "native", "share"))} == tar


def test_the_tarball_runs_where_it_is_unpacked(packages, tmp_path):
    with tarfile.open(one(packages, "keel-*.tar.gz")) as archive:
        assert {member.uid for member in archive} == {0}
    unpack(one(packages, "keel-*.tar.gz"), tmp_path)
    keel = one(tmp_path, "keel-*/bin/keel")
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KEEL_URL": f"http://127.0.0.1:{port}"}
    server = subprocess.Popen([keel, "serve", "--listen", f"127.0.0.1:{port}"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.02)
        doctor = subprocess.run([keel, "doctor", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert doctor.returncode == 0, doctor.stdout
        assert all(engine["path"].startswith(str(keel.parent.parent / "native")) for engine in json.loads(doctor.stdout)["engines"])
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


def test_the_service_is_kept_apart_from_the_system(packages, tmp_path):
    subprocess.run(["dpkg-deb", "--extract", one(packages, "*.deb"), tmp_path], check=True)
    unit = tmp_path / "usr/lib/systemd/system/keel.service"
    text = unit.read_text()
    assert "User=keel" in text and "StateDirectory=keel" in text and "--home /var/lib/keel" in text
    assert (tmp_path / "usr/bin/keel").readlink() == pathlib.Path("../lib/keel/bin/keel")
    fields = subprocess.run(["dpkg-deb", "--field", one(packages, "*.deb")], capture_output=True, text=True).stdout
    assert "Architecture: amd64" in fields and re.search(r"libc6 \(>= 2\.\d+\)", fields)
    with gzip.open(tmp_path / "usr/share/doc/keel/changelog.gz", "rt") as changes:
        version = re.search(r"^Version: (.*)$", fields, re.M).group(1)
        assert f"## {version}\n" in changes.read(), "CHANGELOG.md says nothing of this version"


def test_systemd_finds_the_service_well_protected(packages, tmp_path):
    """By the unit alone; test_service.py runs it. What it may do after all, it needs (the comments of the unit say for what)."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    subprocess.run(["dpkg-deb", "--extract", one(packages, "*.deb"), tmp_path], check=True)
    unit = tmp_path / "usr/lib/systemd/system/keel.service"
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=30", unit], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert re.search(r"exposure level for keel\.service: [0-2]\.\d (OK|SAFE)", done.stdout), done.stdout[-500:]
    # Each directive is one that systemd knows; a misspelt one would be ignored with a warning.
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    warnings = [line for line in verified.stderr.splitlines() if "keel.service" in line and "/usr/bin/keel is not executable" not in line]
    assert not warnings, warnings


def test_the_sums_are_signed_and_what_was_changed_is_found(packages, key, tmp_path):
    assert {line.split()[1] for line in (packages / "SHA256SUMS").read_text().splitlines()} == {
        path.name for path in packages.iterdir() if not path.name.startswith("SHA256SUMS")}
    verify = ["minisign", "-V", "-p", key[1], "-m"]
    assert subprocess.run(["sha256sum", "--check", "--status", "SHA256SUMS"], cwd=packages).returncode == 0
    assert subprocess.run([*verify, packages / "SHA256SUMS"], capture_output=True).returncode == 0
    sums = shutil.copy(packages / "SHA256SUMS", tmp_path)
    shutil.copy(packages / "SHA256SUMS.minisig", tmp_path)
    with open(sums, "a") as file:
        file.write(f"{'0' * 64}  keel-evil.tar.gz\n")
    assert subprocess.run([*verify, sums], capture_output=True).returncode != 0


def test_the_bill_of_materials_names_all_that_is_inside(packages, tmp_path):
    bill = json.loads(one(packages, "*.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.6"
    parts = {part["name"]: part for part in bill["components"]}
    pins = json.loads((ROOT / "Package.resolved").read_text())["pins"]
    for pin in pins:
        if pin["identity"] != "swift-nio-transport-services":
            assert parts[pin["identity"]]["version"] == pin["state"]["version"]
    pinned = dict(line.split("=", 1) for line in (ROOT / "scripts/versions.env").read_text().splitlines() if re.match(r"[A-Z0-9]+_VERSION=", line))
    for name in ("duckdb", "onnxruntime", "xgboost", "uv"):
        assert parts[name]["version"] == pinned[f"{name.upper()}_VERSION"]
    for part in bill["components"]:
        assert part["type"] == "file" or (part["purl"].startswith("pkg:") and part["licenses"] and part["version"])
    # Each file of machine code is there with its digest, and nothing else is.
    with tarfile.open(one(packages, "keel-*.tar.gz")) as archive:
        inside = {}
        for member in archive:
            if member.isfile() and (data := archive.extractfile(member).read())[:4] == b"\x7fELF":
                inside[member.name.split("/", 1)[1]] = hashlib.sha256(data).hexdigest()
    assert {part["name"]: part["hashes"][0]["content"] for part in bill["components"] if part["type"] == "file"} == inside


def made_otherwise(source, tree, names):
    """A copy of files of a tree, made in another order, of another time, of another user."""
    for name in sorted(names, reverse=True):
        place = tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, place)
        os.utime(place, (1_234_567_890, 1_234_567_890))
        if os.geteuid() == 0:
            os.chown(place, 65534, 65534)
    return tree


def test_the_same_tree_makes_the_same_bytes(packages, tmp_path):
    """All packages and the bill of materials, made again of the same files in another folder: without the large ones, which take minutes to compress.
    KEEL_PACKAGE_DEMO=1 takes all files, and compares with the packages that there are."""
    sys.path.insert(0, str(ROOT / "Packaging"))
    import package
    import sbom

    def pack(tree, output):
        bill = tree / "share/keel.cdx.json"
        bill.unlink()
        sbom.write(bill, tree, package.machine_code(tree), package.licences.components(ROOT), package.version(), package.epoch())
        output.mkdir()
        made = package.pack(tree, output / "work", output, "all")
        shutil.rmtree(output / "work")
        return made

    unpack(one(packages, "keel-*.tar.gz"), tmp_path / "unpacked")
    source = one(tmp_path / "unpacked", "keel-*")
    names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    first = packages
    if not os.environ.get("KEEL_PACKAGE_DEMO"):
        names = [name for name in names if (source / name).stat().st_size < 1 << 20]
        # Moved, so that no folder is left without a file.
        for name in names:
            (tmp_path / "small" / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).rename(tmp_path / "small" / name)
        source = tmp_path / "small"
        first = tmp_path / "first"
        pack(source, first)
    made = pack(made_otherwise(source, tmp_path / "elsewhere", names), tmp_path / "again")
    assert {path.name for path in made} == {path.name for path in first.iterdir() if not path.name.startswith("SHA256SUMS")}
    for path in made:
        assert path.read_bytes() == (first / path.name).read_bytes(), f"{path.name} differs"


def test_a_build_that_tells_its_folder_is_noticed(tmp_path):
    sys.path.insert(0, str(ROOT / "Packaging"))
    import package

    command = tmp_path / "keel"
    command.write_bytes(b"\x7fELF\0" + os.fsencode(tmp_path / ".build/checkouts/library/file.c") + b"\0")
    assert package.tells_its_folder(command, tmp_path)
    command.write_bytes(b"\x7fELF\0./.build-packages/checkouts/library/file.c\0")
    assert not package.tells_its_folder(command, tmp_path)


def test_another_build_makes_the_same_bytes(packages):
    """KEEL_PACKAGE_OTHER names the packages of another folder: of `make packages` in a second checkout of the same commit. KEEL_BINARY is then the command in
    .build-packages/release."""
    if not os.environ.get("KEEL_PACKAGE_OTHER"):
        pytest.skip("KEEL_PACKAGE_OTHER names no packages")
    other = pathlib.Path(os.environ["KEEL_PACKAGE_OTHER"])
    for path in sorted(packages.iterdir()):
        # Signed by another key.
        if path.suffix != ".minisig":
            assert path.read_bytes() == (other / path.name).read_bytes(), f"{path.name} differs"

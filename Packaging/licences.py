"""The licences of all that a package holds, beside it in share/licences: of Keel, of the Swift packages, of the libraries that are linked in, and the
notice that lists them. The engines' own come with them."""
import json
import pathlib
import re
import shutil
import subprocess

APACHE_RUNTIME = "Apache-2.0 WITH Swift-exception"
# Only tests and plugins need these; nothing of them is in the command.
UNUSED = {"swift-nio-transport-services"}


def identifier(text):
    """The SPDX identifier of a licence's text."""
    head = text[:2000]
    for mark, name in [("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted, free of charge", "MIT")]:
        if mark in head:
            return APACHE_RUNTIME if name == "Apache-2.0" and "Runtime Library Exception" in text else name
    raise SystemExit(f"package: a licence that is not known begins with: {head[:80]!r}")


def swift_packages(root):
    """The packages of the build: name, version, address, licence and its files. From Package.resolved and the checkouts."""
    pins = json.loads((root / "Package.resolved").read_text())["pins"]
    checkouts = {path.name.lower(): path for path in (root / ".build" / "checkouts").iterdir()}
    out = []
    for pin in sorted(pins, key=lambda pin: pin["identity"]):
        if pin["identity"] in UNUSED:
            continue
        folder = checkouts[pathlib.PurePosixPath(pin["location"]).name.removesuffix(".git").lower()]
        texts = [path for path in sorted(folder.iterdir()) if path.name.upper().startswith(("LICENSE", "NOTICE"))]
        out.append({
            "name": pin["identity"], "version": pin["state"]["version"], "address": pin["location"].removesuffix(".git"),
            "licence": identifier(texts[0].read_text()), "texts": texts})
    return out


def versions(root):
    """What scripts/versions.env pins."""
    lines = (root / "scripts" / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def debian(package):
    """The version and the copyright file of an installed Debian package."""
    text = pathlib.Path("/var/lib/dpkg/status").read_text()
    entry = next(part for part in text.split("\n\n") if f"Package: {package}\n" in part + "\n" and "Status: install ok installed" in part)
    number = next(line for line in entry.splitlines() if line.startswith("Version: "))
    return number.removeprefix("Version: "), pathlib.Path("/usr/share/doc") / package / "copyright"


def components(root):
    """All that a package holds besides Keel itself: name, version, licence, address, and the files of the licence."""
    pinned = versions(root)
    swift = pathlib.Path(shutil.which("swiftc")).resolve().parent.parent
    swift_version = re.search(r"Swift version (\S+)", subprocess.run([swift / "bin" / "swiftc", "--version"], capture_output=True, text=True).stdout).group(1)
    for name, package, licence, address in [
        ("sqlite", "libsqlite3-dev", "blessing", "https://www.sqlite.org"), ("re2", "libre2-dev", "BSD-3-Clause", "https://github.com/google/re2"),
        ("zlib", "zlib1g-dev", "Zlib", "https://zlib.net")]:
        number, text = debian(package)
        yield {"name": name, "version": number, "licence": licence, "address": address, "texts": [text], "purl": f"pkg:deb/debian/{package}@{number}"}
    yield {"name": "swift", "version": swift_version, "licence": APACHE_RUNTIME, "address": "https://github.com/swiftlang/swift",
           "purl": f"pkg:github/swiftlang/swift@swift-{swift_version}-RELEASE",
           "texts": [path for path in [swift / "share" / "swift" / "LICENSE.txt"] if path.exists()]}
    for package in swift_packages(root):
        yield package | {"purl": f"pkg:swift/{package['address'].removeprefix('https://')}@{package['version']}"}
    for name, key, licence, address in [
        ("duckdb", "DUCKDB", "MIT", "https://github.com/duckdb/duckdb"), ("onnxruntime", "ONNXRUNTIME", "MIT", "https://github.com/microsoft/onnxruntime"),
        ("xgboost", "XGBOOST", "Apache-2.0", "https://github.com/dmlc/xgboost"), ("uv", "UV", "Apache-2.0 OR MIT", "https://github.com/astral-sh/uv")]:
        # The others' texts come with the engine; XGBoost's package has none, and its licence is the text that Keel's is.
        texts = [root / "LICENSE"] if name == "xgboost" else []
        yield {"name": name, "version": pinned[f"{key}_VERSION"], "licence": licence, "address": address, "texts": texts,
               "purl": f"pkg:pypi/{'xgboost-cpu' if name == 'xgboost' else name}@{pinned[f'{key}_VERSION']}"}
    number, text = debian("libgomp1")
    yield {"name": "libgomp", "version": number, "licence": "GPL-3.0-or-later WITH GCC-exception-3.1", "address": "https://gcc.gnu.org", "texts": [text],
           "purl": f"pkg:deb/debian/libgomp1@{number}"}


def gather(root, folder):
    """Copies the texts of the licences into `folder` and writes NOTICE beside them."""
    shutil.copyfile(root / "LICENSE", folder / "LICENSE")
    lines = ["Keel", "Apache License 2.0 (LICENSE)", "", "It contains:", ""]
    for part in sorted(components(root), key=lambda part: part["name"]):
        lines.append(f"{part['name']} {part['version']}  {part['licence']}  {part['address']}")
        for text in part["texts"]:
            place = folder / part["name"]
            place.mkdir(exist_ok=True)
            shutil.copyfile(text, place / text.name)
        if not list((folder / part["name"]).glob("*")):
            raise SystemExit(f"package: the licence of {part['name']} is not here: scripts/bootstrap installs it again")
    (folder / "NOTICE").write_text("\n".join(lines) + "\n")

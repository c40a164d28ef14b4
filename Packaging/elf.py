"""What files of machine code ask of the machine that they run on, by readelf (binutils)."""
import re
import subprocess

# What the manylinux policies let a wheel expect of every system.
SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2"}
# Of libstdc++ the policy of glibc 2.34 allows what GCC 11 brought.
GLIBCXX_MAX = (3, 4, 29)


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def needs(path):
    """Returns the names of the shared libraries that the file is linked with."""
    text = subprocess.run(["readelf", "--dynamic", "--wide", path], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.*?)\]", text))


def newest(path, family):
    """Returns the newest symbol version of a family, such as GLIBC, that the file imports, as numbers; () for none."""
    text = subprocess.run(["readelf", "--version-info", "--wide", path], check=True, capture_output=True, text=True).stdout
    required = text[text.index("Version needs section"):] if "Version needs section" in text else ""
    return max((tuple(map(int, number.split("."))) for number in re.findall(rf"Name: {family}_([0-9.]+)", required)), default=())


def problems(files, carried):
    """Why the files do not run on any other machine: one line each. `carried`: names of libraries that come with them."""
    out = []
    for file in files:
        strange = needs(file) - SYSTEM - carried
        if strange:
            out.append(f"{file} needs {', '.join(sorted(strange))}, which no package brings")
        if newest(file, "GLIBCXX") > GLIBCXX_MAX:
            out.append(f"{file} needs a newer libstdc++ than a wheel may ask for")
    return out

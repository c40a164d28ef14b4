"""A machine with Python, pip and nothing else: a root file system of its own, in a network without a way out.

It is made of files of this machine: the C and C++ libraries, a shell, some commands, and Python's standard library. KEEL_PACKAGE_ROOT names another one to
take, such as a Debian that debootstrap has made.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time

COMMANDS = ["sh", "cat", "chmod", "cp", "env", "id", "ln", "ls", "mkdir", "mv", "rm", "sleep", "uname", "setpriv"]
# Of the machine itself: what a wheel may expect of every system.
SYSTEM = ["libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6", "libnss_files.so.2", "libresolv.so.2"]


def can_be_made():
    """Whether this machine lets a test make another one."""
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "ip", "link", "set", "lo", "up"]
    return os.geteuid() == 0 and shutil.which("ip") and subprocess.run(probe, capture_output=True).returncode == 0


class Machine:
    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="keel-machine-"))
        self.root = self.work / "root"
        self.binds = []
        given = os.environ.get("KEEL_PACKAGE_ROOT")
        if given:
            # Not its devices: a copy of /dev/full never ends.
            shutil.copytree(given, self.root, symlinks=True, ignore=lambda folder, names: names if pathlib.Path(folder) == pathlib.Path(given) / "dev" else [])
            self.python = "/usr/bin/python3"
        else:
            self.make()
        for name in ("proc", "dev", "tmp", "root", "wheels"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").chmod(0o1777)

    def make(self):
        for name in ("etc", "usr/bin", "usr/lib", "var/tmp"):
            (self.root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (self.root / name).symlink_to({"bin": "usr/bin"}.get(name, "usr/lib"))
        (self.root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        (self.root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
        (self.root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
        (self.root / "etc" / "nsswitch.conf").write_text("hosts: files\n")
        for command in COMMANDS:
            self.program(shutil.which(command), f"/usr/bin/{command}")
        listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin"}).stdout
        for name in SYSTEM:
            if found := re.search(rf"^\s+{re.escape(name)} .*x86-64.* => (\S+)$", listed, re.M):
                self.library(found.group(1))
        self.python = os.path.realpath(sys._base_executable)
        self.program(self.python, self.python)
        stdlib = sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})
        self.binds.append(stdlib)
        (self.root / stdlib.lstrip("/")).mkdir(parents=True)
        # Python's module for SQLite would bring SQLite.
        for module in pathlib.Path(stdlib, "lib-dynload").glob("*.so"):
            if not module.name.startswith(("_sqlite3", "_tkinter")):
                self.libraries(module)
        import pip
        shutil.copytree(pathlib.Path(pip.__file__).parent, self.root / "usr" / "lib" / "pip" / "pip")

    def program(self, path, place):
        """Copies a program, and what it is linked with, to its place in the root."""
        target = self.root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
        self.libraries(path)

    def libraries(self, path):
        for library in re.findall(r"(?:=> )?(/\S+) \(0x", subprocess.run(["ldd", path], capture_output=True, text=True).stdout):
            self.library(library)

    def library(self, path):
        target = self.root / "usr" / "lib" / pathlib.Path(path).name
        if not target.exists():
            shutil.copy(os.path.realpath(path), target)

    def has(self, name):
        return any(self.root.rglob(name))

    def run(self, program, silence=300, user=None, volume=None, **environment):
        """Runs a Python program there and returns what it wrote; the machine ends with it.

        It is root's; with `user` it is that number's, and then everything but /tmp and the folder `volume`, which lies at the same path, is read-only.
        It may take as long as it likes, as it does beside others, but not be silent for `silence` seconds: what it writes to its standard error says how far it
        is (`pytest -s` shows that), and a silence fails with the last of it and with what was running.
        """
        (self.root / "program.py").write_text(program)
        root = str(self.root)
        chroot = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin")
        mounts = ["ip link set lo up", f"mount --bind {root} {root}"]
        mounts += [f"mount --bind {path} {root}{path}" for path in self.binds]
        if volume:
            (self.root / volume.lstrip("/")).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount -t tmpfs -o mode=2775,gid={user} tmpfs {root}{volume}")
        mounts += [f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        if user:
            mounts.append(f"mount -o remount,bind,ro {root}")
        become = f"--userspec={user}:{user} --groups={user}" if user else ""
        script = "\n".join(["set -e", "mount --make-rprivate /", *mounts, f'exec {chroot} {become} {root} "$@"'])
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "PYTHONPATH": "/usr/lib/pip"} | environment
        process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", self.python, "/program.py"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]} | variables)
        return Watch(process, silence).wait()

    def remove(self):
        shutil.rmtree(self.work)


class Watch:
    """Reads what a process writes, until it has ended or was silent for too long."""

    def __init__(self, process, silence):
        self.process = process
        self.silence = silence
        self.texts = {"stdout": [], "stderr": []}
        self.begun = self.heard = time.monotonic()
        self.readers = [threading.Thread(target=self.read, args=(name,), daemon=True) for name in self.texts]
        for reader in self.readers:
            reader.start()

    def read(self, name):
        for line in getattr(self.process, name):
            self.heard = time.monotonic()
            self.texts[name].append(line)
            if name == "stderr":
                print(f"[{self.heard - self.begun:5.0f} s] {line}", end="", file=sys.stderr, flush=True)

    def wait(self):
        while self.process.poll() is None:
            if time.monotonic() - self.heard > self.silence:
                running = self.running()
                self.process.kill()
                self.finish()
                raise AssertionError(f"silent for {self.silence} s; the last lines:\n{''.join(self.texts['stderr'][-30:])}\nwhat was running:\n{running}")
            time.sleep(0.1)
        self.finish()
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, *("".join(lines) for lines in self.texts.values()))

    def finish(self):
        self.process.wait()
        for reader in self.readers:
            reader.join(10)

    def running(self):
        """The processes below this one: what each waits for in the kernel, its time on a processor, its command."""
        listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,wchan:20=,time=,args="], capture_output=True, text=True).stdout
        below, lines = {self.process.pid}, []
        # Parents are older than their children and so come first.
        for line in listed.splitlines():
            pid, parent = map(int, line.split()[:2])
            if pid in below or parent in below:
                below.add(pid)
                lines.append(line)
        return "\n".join(lines)

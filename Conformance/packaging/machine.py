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

COMMANDS = ["sh", "cat", "chmod", "cp", "env", "id", "ln", "ls", "mkdir", "mv", "rm", "seq", "sleep", "uname", "setpriv"]
# Of the machine itself: what a wheel may expect of every system.
SYSTEM = ["libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6", "libnss_files.so.2", "libresolv.so.2"]


def can_be_made():
    """Whether this machine lets a test make another one."""
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "ip", "link", "set", "lo", "up"]
    return os.geteuid() == 0 and shutil.which("ip") and subprocess.run(probe, capture_output=True).returncode == 0


def unpack(archive, folder):
    """Unpacks a tarball that was made here. Not by Python's `tarfile`, whose way to say that it is trusted is missing in 3.11.2 and asked for in 3.14."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)


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
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "PYTHONPATH": "/usr/lib/pip"} | environment
        return run(self.root, [self.python, "/program.py"], variables, silence, user, volume, self.binds)

    def remove(self):
        shutil.rmtree(self.work)


def run(root, command, variables, silence=300, user=None, volume=None, binds=()):
    """Runs a command below a root file system, in namespaces and a network of its own; see `Machine.run`."""
    root = str(root)
    chroot = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin")
    mounts = ["ip link set lo up", f"mount --bind {root} {root}"]
    mounts += [f"mount --bind {path} {root}{path}" for path in binds]
    if volume:
        pathlib.Path(root + volume).mkdir(parents=True, exist_ok=True)
        mounts.append(f"mount -t tmpfs -o mode=2775,gid={user} tmpfs {root}{volume}")
    mounts += [f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    if user:
        mounts.append(f"mount -o remount,bind,ro {root}")
    become = f"--userspec={user}:{user} --groups={user}" if user else ""
    script = "\n".join(["set -e", "mount --make-rprivate /", *mounts, f'exec {chroot} {become} {root} "$@"'])
    process = subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]} | variables)
    return Watch(process, silence).wait()


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


# Mounts what systemd expects of a container, below the folder that is its first argument, and becomes process 1 there. While it starts, /proc/sys is read-only:
# it would write this machine's kernel settings. cgroup2 shows the cgroup in which this was started, and no other.
BOOT = r"""
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $device
    mknod -m 666 dev/$1 c $2 $3
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up
mkdir -p .old
pivot_root . .old
exec chroot . /bin/sh -c 'umount -l /.old && exec env -i container=keel PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target'
"""


class System:
    """A Debian with systemd as its process 1, in namespaces and a cgroup of its own, without a way out of its network: a copy of the folder `given`, so that
    nothing of it is changed. It can be booted more than once."""

    def __init__(self, given):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="keel-system-"))
        self.root = self.work / "root"
        left_out = {"dev", "proc", "sys", "run"}
        shutil.copytree(given, self.root, symlinks=True, ignore=lambda folder, names: left_out & set(names) if folder == str(given) else [])
        for name in left_out:
            (self.root / name).mkdir()
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        mounted = re.search(r"^(?:\S+ ){4}(\S+) .* - cgroup2 ", pathlib.Path("/proc/self/mountinfo").read_text(), re.M)
        self.cgroup = pathlib.Path(mounted.group(1)) / self.work.name
        self.process = None

    def boot(self):
        """Starts systemd, and returns when it has started what it should."""
        self.cgroup.mkdir(exist_ok=True)
        join = f'echo $$ >{self.cgroup}/cgroup.procs; exec unshare --cgroup sh -c "$1" sh "$2"'
        with open(self.work / "boot.log", "a") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-c", join, "sh", BOOT, str(self.root)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                raise AssertionError((self.work / "boot.log").read_text())
            # It is asked for before there is a bus to ask on.
            if self.init() and self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"):
                # As on a machine of its own. Where a part of /proc is covered, no sandbox can mount another one.
                self.run("umount", "--lazy", "/proc/sys")
                return
            time.sleep(0.1)
        raise AssertionError("systemd did not come up: " + (self.work / "boot.log").read_text())

    def init(self):
        """The number of its process 1, once that is systemd."""
        listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return listed[0] if listed[1:] == ["systemd"] else None

    def run(self, *command, check=True):
        """Runs a command there as root, and returns what it wrote."""
        inside = ["nsenter", "--target", self.init(), "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", f"--root=/proc/{self.init()}/root", "--wd=/"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run([*inside, "env", "-i", f"PATH={path}", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *map(str, command)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
        return done

    def power_off(self):
        self.run("systemctl", "poweroff", check=False)
        self.process.wait(60)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # A cgroup goes when its processes have gone, from the innermost outwards.
        for folder in sorted(self.cgroup.rglob("*/"), reverse=True) + [self.cgroup]:
            for _ in range(50):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)
        shutil.rmtree(self.work)

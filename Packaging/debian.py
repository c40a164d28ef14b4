"""The Debian package and the tarball: the same tree as in the wheel; the package adds the service `keel` with a user of its own."""
import gzip
import os
import shutil
import subprocess
import tarfile


def tarball(tree, output, version, epoch):
    """Returns the path. All files bear one time and no owner, in order of their names."""
    name = f"keel-{version}-linux-x86_64"
    path = output / f"{name}.tar.gz"

    def plain(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = epoch
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with open(path, "wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=epoch) as packed, tarfile.open(
            fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for file in [tree, *sorted(tree.rglob("*"))]:
            archive.add(file, f"{name}/{file.relative_to(tree)}" if file != tree else name, recursive=False, filter=plain)
    return path


def package(root, tree, work, output, version, epoch, glibc):
    """Returns the path of the .deb. `glibc`: the version that the files ask for."""
    own = root / "Packaging" / "debian"
    place = work / "deb"
    shutil.copytree(tree, place / "usr/lib/keel")
    for name in ("DEBIAN", "usr/bin", "usr/lib/systemd/system", "etc/keel", "usr/share/doc/keel", "usr/share/man/man1"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "usr/bin/keel").symlink_to("../lib/keel/bin/keel")
    shutil.copyfile(own / "keel.service", place / "usr/lib/systemd/system/keel.service")
    shutil.copyfile(own / "keel.yaml", place / "etc/keel/keel.yaml")
    shutil.copyfile(tree / "share/licences/NOTICE", place / "usr/share/doc/keel/copyright")
    with open(place / "usr/share/doc/keel/changelog.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=epoch) as packed:
        packed.write((root / "CHANGELOG.md").read_bytes())
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(own / script, place / "DEBIAN" / script)
        (place / "DEBIAN" / script).chmod(0o755)
    (place / "DEBIAN/conffiles").write_text("/etc/keel/keel.yaml\n")
    for name, target in [("keel.bash", "bash-completion/completions/keel"), ("_keel", "zsh/vendor-completions/_keel"),
                         ("keel.fish", "fish/vendor_completions.d/keel.fish")]:
        (place / "usr/share" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / "share/completions" / name, place / "usr/share" / target)
    with open(place / "usr/share/man/man1/keel.1.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=epoch) as packed:
        packed.write((tree / "share/man/man1/keel.1").read_bytes())
    kilobytes = sum(file.stat().st_size for file in place.rglob("*") if file.is_file() and not file.is_symlink()) // 1024
    (place / "DEBIAN/control").write_text(
        f"Package: keel\nVersion: {version}\nSection: science\nPriority: optional\nArchitecture: amd64\n"
        f"Installed-Size: {kilobytes}\nMaintainer: The Keel project\nDepends: adduser, libc6 (>= {glibc}), libgcc-s1, libstdc++6 (>= 11)\n"
        "Recommends: bubblewrap, ca-certificates\nSuggests: libpq5, python3\n"
        "Description: backbone for machine-learning systems in production\n"
        " Tracking, registry, datasets, features, training, serving, monitoring and\n retraining in one server. The service keel keeps everything in\n"
        " /var/lib/keel and listens on 127.0.0.1:7070.\n")
    for file in place.rglob("*"):
        if not file.is_symlink():
            file.chmod(0o755 if file.is_dir() or os.access(file, os.X_OK) else 0o644)
        os.utime(file, (epoch, epoch), follow_symlinks=False)
    path = output / f"keel_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--threads-max=1", "-Zzstd", "-z6", "--build", place, path], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)})
    return path

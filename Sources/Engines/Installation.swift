import Glibc

/// Where an installed Keel (of a wheel, a tarball or a Debian package) keeps what it brings along: `bin/keel`, and beside that folder `native` with the
/// engines and `share` with the rest. A build in a checkout is not installed.
public struct Installation: Sendable {
    /// The folder that holds `bin`, `native` and `share`.
    public let folder: String

    /// - Parameter executable: the command's own path, without symbolic links.
    /// - Returns: nil when nothing is installed around it.
    public init?(executable: String) {
        guard executable.hasSuffix("/bin/keel") else { return nil }
        folder = String(executable.dropLast("/bin/keel".count))
        // One of them may be what is missing.
        guard ["native", "share/keel.cdx.json"].contains(where: { path($0) != nil }) else { return nil }
    }

    /// Whether pip installed it: it lies in an environment of Python.
    public var isWheel: Bool { ["site-packages/keel", "dist-packages/keel"].contains(where: folder.hasSuffix) }

    /// What brings back a file that belongs to the installation: a command, or what to do.
    public var reinstalling: String {
        if isWheel { return "pip install --force-reinstall --no-deps keel_ml-*.whl" }
        if folder == "/usr/lib/keel", access("/var/lib/dpkg/info/keel.list", F_OK) == 0 { return "apt install --reinstall ./keel_*_amd64.deb" }
        return "unpack keel-*-linux-x86_64.tar.gz again"
    }

    /// The installation that this process runs from.
    public static let process: Installation? = {
        guard let resolved = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(resolved) }
        return Installation(executable: String(cString: resolved))
    }()

    /// The path of a file or folder that came with the installation; nil when it is not there.
    /// - Parameter name: below the installation's folder, such as `native/uv/uv`.
    public func path(_ name: String) -> String? {
        let path = folder + "/" + name
        return access(path, R_OK) == 0 ? path : nil
    }
}

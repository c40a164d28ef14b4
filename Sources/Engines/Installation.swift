import Glibc

/// Where an installed Keel (of a wheel, a tarball or a Debian package) keeps what it brings along: `bin/keel`, and beside that folder `native` with the
/// engines and `share` with the rest. A build in a checkout is not installed.
public struct Installation: Sendable {
    /// The folder that holds `bin`, `native` and `share`.
    public let folder: String

    /// - Parameter executable: the command's own path, without symbolic links.
    /// - Returns: nil when nothing is installed around it.
    public init?(executable: String) {
        guard executable.hasSuffix("/bin/keel"), access(executable.dropLast("/bin/keel".count) + "/native", R_OK) == 0 else { return nil }
        folder = String(executable.dropLast("/bin/keel".count))
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

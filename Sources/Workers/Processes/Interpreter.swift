import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// The Python that programs are run with: that of the server's virtual environment, or the first in its PATH.
package struct Interpreter: Sendable {
    package static let found = Interpreter(ProcessInfo.processInfo.environment)

    package let path: String
    /// Where it and its packages lie, besides what every system has.
    package let folders: [String]

    init?(_ environment: [String: String]) {
        let places =
            environment["VIRTUAL_ENV"].map { [$0 + "/bin"] }
            ?? (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map(String.init)
        guard let path = places.map({ $0 + "/python3" }).first(where: { $0.hasPrefix("/") && access($0, X_OK) == 0 }) else { return nil }
        self.path = path
        let real = realpath(path, nil).map { text in
            defer { free(text) }
            return String(cString: text)
        }
        let prefixes = [path, real ?? path].map { (($0 as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent }
        folders = Set(prefixes).subtracting(["/", "/usr", "/usr/local"]).sorted()
    }
}

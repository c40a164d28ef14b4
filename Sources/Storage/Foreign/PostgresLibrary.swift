import CPostgres
import Contracts
import Glibc

/// The loaded libpq: its entry points, which stay for the life of the process. Only an import from PostgreSQL loads it.
///
/// `@unchecked Sendable`: immutable after `init`; libpq's entry points themselves may be called from any thread.
package struct PostgresLibrary: @unchecked Sendable {
    let api: keel_libpq_api

    /// Loaded at first use; a failure is kept.
    static let shared: Result<PostgresLibrary, KeelError> = {
        let named = getenv("KEEL_LIBPQ_LIB").map { String(cString: $0) } ?? ""
        do throws(KeelError) { return .success(try PostgresLibrary(path: named.isEmpty ? "libpq.so.5" : named)) } catch { return .failure(error) }
    }()

    /// - Parameter path: the library's file, or the name that the system's loader knows it by.
    /// - Throws: `engineMissing` with why it cannot be loaded and the install step.
    package init(path: String) throws(KeelError) {
        var api = keel_libpq_api()
        if let reason = keel_libpq_load(path, &api) {
            throw KeelError(
                .engineMissing, "PostgreSQL's client library cannot be loaded: \(String(cString: reason))",
                hint: "install it (Debian: apt install libpq5), or name its file in KEEL_LIBPQ_LIB")
        }
        self.api = api
    }
}

import CDuckDB
import Contracts

/// The loaded DuckDB library: its entry points, which stay for the life of the process.
///
/// `@unchecked Sendable`: immutable after `init`; DuckDB's entry points themselves may be called from any thread.
struct DuckDBLibrary: @unchecked Sendable {
    let api: keel_duckdb_api
    let path: String
    let version: String

    /// Loaded at first use; a failure is kept.
    static let shared: Result<DuckDBLibrary, KeelError> = {
        do throws(KeelError) { return .success(try DuckDBLibrary(locator: .process)) } catch { return .failure(error) }
    }()

    init(locator: EngineLocator) throws(KeelError) {
        var api = keel_duckdb_api()
        path = try locator.load(.duckdb) { candidate in keel_duckdb_load(candidate, &api).map { String(cString: $0) } }
        self.api = api
        version = api.library_version().map { String(String(cString: $0).trimmingPrefix("v")) } ?? "unknown"
    }
}

/// DuckDB's type numbers (`duckdb_type`), those that Keel reads or writes.
enum DuckDBType {
    static let boolean: Int32 = 1
    static let tinyint: Int32 = 2
    static let smallint: Int32 = 3
    static let integer: Int32 = 4
    static let bigint: Int32 = 5
    static let utinyint: Int32 = 6
    static let usmallint: Int32 = 7
    static let uinteger: Int32 = 8
    static let ubigint: Int32 = 9
    static let float: Int32 = 10
    static let double: Int32 = 11
    static let timestamp: Int32 = 12
    static let date: Int32 = 13
    static let hugeint: Int32 = 16
    static let varchar: Int32 = 17
    static let blob: Int32 = 18
    static let decimal: Int32 = 19
    static let timestampSeconds: Int32 = 20
    static let timestampMilliseconds: Int32 = 21
    static let timestampNanoseconds: Int32 = 22
    static let enumeration: Int32 = 23
    static let list: Int32 = 24
    static let uuid: Int32 = 27
    static let timestampWithZone: Int32 = 31
    static let array: Int32 = 33
    static let sqlNull: Int32 = 36

    /// The types that no Keel column holds, by number.
    static let unsupportedNames: [Int32: String] = [
        14: "TIME", 15: "INTERVAL", 25: "STRUCT", 26: "MAP", 28: "UNION", 29: "BIT", 30: "TIME WITH TIME ZONE", 32: "UHUGEINT",
        35: "BIGNUM", 39: "TIME_NS",
    ]
}

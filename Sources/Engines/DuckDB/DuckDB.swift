import CDuckDB
import Contracts

/// A DuckDB database in this process: SQL over tables, Parquet, CSV and JSON.
///
/// Threads: a database may be used from any thread. Each `DuckDBConnection` runs one statement at a time; take one for each
/// concurrent piece of work. Statements block the calling thread: keep them off the cooperative pool and off event loops.
///
/// `@unchecked Sendable`: the handle is set once in `init` and DuckDB guards the database itself.
public final class DuckDB: @unchecked Sendable {
    public struct Settings: Sendable {
        /// How many threads a query may use; nil leaves it to DuckDB (all cores).
        public var threads: Int?
        /// What queries may hold in memory before they spill to disk; nil leaves it to DuckDB (80 % of the machine's).
        public var memoryBytesMax: Int?
        /// Where queries spill; nil leaves it to DuckDB (`.tmp`, or beside the database file).
        public var temporaryDirectory: String?
        /// Any other setting of DuckDB, by its own name.
        public var options: [String: String]

        public init(threads: Int? = nil, memoryBytesMax: Int? = nil, temporaryDirectory: String? = nil, options: [String: String] = [:]) {
            self.threads = threads
            self.memoryBytesMax = memoryBytesMax
            self.temporaryDirectory = temporaryDirectory
            self.options = options
        }
    }

    let library: DuckDBLibrary
    let handle: keel_duckdb_handle

    /// The engine's version, such as `1.5.5`.
    public var version: String { library.version }

    /// Opens a database file, or one in memory when `path` is nil. Time zone arithmetic is in UTC, and no extension is ever downloaded.
    ///
    /// - Throws: `engineMissing` when DuckDB is not installed; `invalidArgument` for a setting that DuckDB does not take, or a file
    ///   that is not its own.
    public convenience init(path: String? = nil, settings: Settings = Settings()) throws(KeelError) {
        try self.init(library: try DuckDBLibrary.shared.get(), path: path, settings: settings)
    }

    init(library: DuckDBLibrary, path: String?, settings: Settings) throws(KeelError) {
        let api = library.api
        var config: keel_duckdb_handle?
        guard api.create_config(&config) == 0 else { throw KeelError(.internal, "DuckDB could not make a configuration") }
        defer { api.destroy_config(&config) }
        var options = ["autoinstall_known_extensions": "false", "autoload_known_extensions": "false"]
        if let threads = settings.threads { options["threads"] = String(threads) }
        if let bytes = settings.memoryBytesMax { options["memory_limit"] = "\(bytes)B" }
        if let folder = settings.temporaryDirectory { options["temp_directory"] = folder }
        options.merge(settings.options) { _, given in given }
        for (name, value) in options.sorted(by: { $0.key < $1.key }) {
            guard api.set_config(config, name, value) == 0 else { throw .invalid("DuckDB has no setting '\(name)' that takes '\(value)'") }
        }
        var database: keel_duckdb_handle?
        var message: UnsafeMutablePointer<CChar>?
        guard api.open_ext(path ?? ":memory:", &database, config, &message) == 0, let database else {
            let text = message.map { String(cString: $0) } ?? "unknown reason"
            if let message { api.free(message) }
            throw .invalid("DuckDB cannot open \(path.map { "'\($0)'" } ?? "a database in memory"): \(text)")
        }
        self.library = library
        handle = database
    }

    deinit {
        var database: keel_duckdb_handle? = handle
        library.api.close(&database)
    }

    /// A new connection. Temporary tables belong to the connection that made them.
    public func connect() throws(KeelError) -> DuckDBConnection {
        var connection: keel_duckdb_handle?
        guard library.api.connect(handle, &connection) == 0, let connection else {
            throw KeelError(.internal, "DuckDB could not open a connection")
        }
        let opened = DuckDBConnection(database: self, handle: connection)
        try opened.execute("SET TimeZone = 'UTC'")
        return opened
    }
}

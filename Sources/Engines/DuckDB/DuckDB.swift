import CDuckDB
import Contracts
import Glibc

/// A DuckDB database in this process: SQL over tables, Parquet, CSV and JSON.
///
/// Threads: a database may be used from any thread. Each `DuckDBConnection` runs one statement at a time; take one for each
/// concurrent piece of work. Statements block the calling thread: keep them off the cooperative pool and off event loops.
///
/// `@unchecked Sendable`: `lock` guards the instance, which is set once.
public final class DuckDB: @unchecked Sendable {
    public struct Settings: Sendable {
        /// The folders whose files SQL may read and write, with all below them. There is no other access to files, and none to the network.
        public var folders: [String]
        /// Single files that SQL may read besides.
        public var files: [String] = []
        /// How many threads a query may use; nil leaves it to DuckDB (all cores).
        public var threads: Int?
        /// What all queries together may hold in memory before they spill to disk; nil is an eighth of the machine's memory.
        public var memoryBytesMax: Int?
        /// Where queries spill; nil leaves it to DuckDB (`.tmp`, or beside the database file).
        public var temporaryDirectory: String?
        /// What all queries together may spill.
        public var spillBytesMax: Int
        /// Any other setting of DuckDB, by its own name.
        public var options: [String: String]

        public init(
            folders: [String] = [], threads: Int? = nil, memoryBytesMax: Int? = nil, temporaryDirectory: String? = nil,
            spillBytesMax: Int = 64 << 30, options: [String: String] = [:]
        ) {
            self.folders = folders
            self.threads = threads
            self.memoryBytesMax = memoryBytesMax
            self.temporaryDirectory = temporaryDirectory
            self.spillBytesMax = spillBytesMax
            self.options = options
        }

        /// An eighth of the machine's memory, at least 256 MiB.
        static var standardMemory: Int { max(sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) / 8, 256 << 20) }

        /// What DuckDB is told before it opens.
        var start: [String: String] {
            var out = [
                "autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "allow_community_extensions": "false",
                "memory_limit": "\(memoryBytesMax ?? Settings.standardMemory)B", "max_temp_directory_size": "\(spillBytesMax)B",
            ]
            if let threads { out["threads"] = String(threads) }
            if let temporaryDirectory { out["temp_directory"] = temporaryDirectory }
            return out.merging(options) { _, given in given }
        }

        /// What it is told once it is open, in this order: the last statement forbids every later change of a setting.
        var confinement: [String] {
            [
                "SET GLOBAL TimeZone = 'UTC'",
                // Values are read as they were written, not as what DuckDB takes them for.
                "SET GLOBAL enable_geoparquet_conversion = false",
                "SET GLOBAL allowed_directories = [\(folders.map(DuckDBConnection.literal).joined(separator: ", "))]",
                "SET GLOBAL allowed_paths = [\(files.map(DuckDBConnection.literal).joined(separator: ", "))]",
                "SET GLOBAL enable_external_access = false",
                "SET GLOBAL lock_configuration = true",
            ]
        }
    }

    /// An open database; connections keep it.
    ///
    /// `@unchecked Sendable`: the handle never changes and DuckDB guards the database itself.
    final class Instance: @unchecked Sendable {
        let library: DuckDBLibrary
        let handle: keel_duckdb_handle

        init(library: DuckDBLibrary, handle: keel_duckdb_handle) { (self.library, self.handle) = (library, handle) }

        deinit {
            var database: keel_duckdb_handle? = handle
            library.api.close(&database)
        }
    }

    private let path: String?
    private let settings: Settings
    private let lock = NativeLock()
    private var instance: Instance?

    /// A database in memory that is opened by the first `connect`: what never asks needs neither the engine nor its memory (about 25 MB).
    public init(openedAtFirstUse settings: Settings) { (path, self.settings) = (nil, settings) }

    /// Opens a database file, or one in memory when `path` is nil. Time zone arithmetic is in UTC, no extension is ever downloaded or loaded, and no SQL can
    /// change that or reach files outside the folders of the settings.
    ///
    /// - Throws: `engineMissing` when DuckDB is not installed; `invalidArgument` for a setting that DuckDB does not take, or a file
    ///   that is not its own.
    public init(path: String? = nil, settings: Settings = Settings()) throws(KeelError) {
        (self.path, self.settings) = (path, settings)
        _ = try opened()
    }

    /// Where this process found the engine, for another process that is to use the same one (`KEEL_DUCKDB_LIB`).
    public static var library: String { get throws(KeelError) { try DuckDBLibrary.shared.get().path } }

    /// The engine's version, such as `1.5.5`.
    public var version: String { get throws(KeelError) { try opened().library.version } }

    private func opened() throws(KeelError) -> Instance {
        lock.lock()
        defer { lock.unlock() }
        if let instance { return instance }
        let made = try DuckDB.open(path, settings)
        instance = made
        return made
    }

    private static func open(_ path: String?, _ settings: Settings) throws(KeelError) -> Instance {
        let library = try DuckDBLibrary.shared.get()
        let api = library.api
        var config: keel_duckdb_handle?
        guard api.create_config(&config) == 0 else { throw KeelError(.internal, "DuckDB could not make a configuration") }
        defer { api.destroy_config(&config) }
        for (name, value) in settings.start.sorted(by: { $0.key < $1.key }) {
            guard api.set_config(config, name, value) == 0 else { throw .invalid("DuckDB has no setting '\(name)' that takes '\(value)'") }
        }
        var database: keel_duckdb_handle?
        var message: UnsafeMutablePointer<CChar>?
        guard api.open_ext(path ?? ":memory:", &database, config, &message) == 0, let database else {
            let text = message.map { String(cString: $0) } ?? "unknown reason"
            if let message { api.free(message) }
            throw .invalid("DuckDB cannot open \(path.map { "'\($0)'" } ?? "a database in memory"): \(text)")
        }
        let instance = Instance(library: library, handle: database)
        let first = try connection(to: instance)
        for statement in settings.confinement { try first.execute(statement) }
        return instance
    }

    /// A new connection. Temporary tables belong to the connection that made them.
    public func connect() throws(KeelError) -> DuckDBConnection { try DuckDB.connection(to: try opened()) }

    private static func connection(to instance: Instance) throws(KeelError) -> DuckDBConnection {
        var connection: keel_duckdb_handle?
        guard instance.library.api.connect(instance.handle, &connection) == 0, let connection else {
            throw KeelError(.internal, "DuckDB could not open a connection")
        }
        return DuckDBConnection(database: instance, handle: connection)
    }
}

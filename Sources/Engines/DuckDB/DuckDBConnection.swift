import CDuckDB
import Contracts
import Synchronization

/// A connection to a `DuckDB` database. Its statements run one after another; calls from several threads wait for each other.
///
/// Values map as follows. `timestamp` is DuckDB's `TIMESTAMP`, taken as UTC (`TIMESTAMP WITH TIME ZONE` reads as the same instant);
/// `bytes` is `BLOB`, `list` is `LIST`, `tensor` is `ARRAY` when read and `LIST` when written. Read only: narrow integers widen to
/// `int32` or `int64`; `HUGEINT` (what `sum` of integers gives) and `UBIGINT` become `int64`, an error when a value does not fit;
/// `DECIMAL` becomes the nearest `float64`; `ENUM` and `UUID` become `string`. Other types are an error that says to cast.
///
/// `@unchecked Sendable`: every use of the handle holds `lock`, except `interrupt`, which DuckDB allows from any thread.
public final class DuckDBConnection: @unchecked Sendable {
    private let database: DuckDB.Instance
    private let handle: keel_duckdb_handle
    private let lock = NativeLock()
    private static let temporaryNumber = Atomic<UInt64>(0)

    var api: keel_duckdb_api { database.library.api }

    /// How many rows DuckDB hands on at a time.
    var vectorRows: Int { Int(api.vector_size()) }

    init(database: DuckDB.Instance, handle: keel_duckdb_handle) {
        self.database = database
        self.handle = handle
    }

    deinit {
        var connection: keel_duckdb_handle? = handle
        api.disconnect(&connection)
    }

    /// Runs one or more statements and returns how many rows the last one changed. With parameters, one statement only.
    ///
    /// - Throws: `invalidArgument` with DuckDB's message; `cancelled` after `interrupt`.
    @discardableResult
    public func execute(_ sql: String, _ parameters: [Value] = []) throws(KeelError) -> Int {
        lock.lock()
        defer { lock.unlock() }
        return Int(truncatingIfNeeded: try run(sql, parameters, streaming: false).rowsChanged)
    }

    /// Runs a query and returns all its rows; `?` or `$1` stand for `parameters`.
    ///
    /// - Throws: `invalidArgument` with DuckDB's message, or when a column's type does not fit in a `Table`.
    public func query(_ sql: String, _ parameters: [Value] = []) throws(KeelError) -> Table {
        lock.lock()
        defer { lock.unlock() }
        let result = try run(sql, parameters, streaming: false)
        let builder = try TableBuilder(result)
        while let chunk = result.nextChunk() { try builder.append(chunk) }
        try result.checkFinished()
        return try builder.finish()
    }

    /// Runs a query and hands its rows to `body` in tables of a few thousand rows, so that a result of any size takes little memory.
    ///
    /// - Parameters:
    ///   - evenEmpty: whether a result without rows is handed on as well, as a table without rows.
    ///   - body: returns false to stop. It must not use this connection.
    public func forEachChunk(
        _ sql: String, _ parameters: [Value] = [], evenEmpty: Bool = false, _ body: (Table) throws(KeelError) -> Bool
    ) throws(KeelError) {
        lock.lock()
        defer { lock.unlock() }
        let result = try run(sql, parameters, streaming: true)
        var isEmpty = true
        while let chunk = result.nextChunk() {
            isEmpty = false
            let builder = try TableBuilder(result)
            try builder.append(chunk)
            guard try body(try builder.finish()) else { return }
        }
        try result.checkFinished()
        if isEmpty, evenEmpty { _ = try body(try TableBuilder(result).finish()) }
    }

    /// Makes the temporary table `name` (in place of one of that name) and fills it with `table`.
    public func insert(_ table: Table, into name: String) throws(KeelError) {
        lock.lock()
        defer { lock.unlock() }
        try load(table, as: name)
    }

    /// Writes a table as Parquet (zstd). The file appears whole, synced, or not at all.
    public func writeParquet(_ table: Table, to path: String) throws(KeelError) {
        lock.lock()
        defer { lock.unlock() }
        let name = "keel_parquet_\(DuckDBConnection.temporaryNumber.add(1, ordering: .relaxed).newValue)"
        try load(table, as: name)
        defer { _ = try? run("DROP TABLE IF EXISTS temp.\(name)", [], streaming: false) }
        try copy("SELECT * FROM temp.\(name)", [], to: path)
    }

    /// Writes the rows of a query as Parquet (zstd), in the query's order. The file appears whole, synced, or not at all.
    ///
    /// - Returns: the number of rows.
    @discardableResult
    public func writeParquet(query sql: String, _ parameters: [Value] = [], to path: String) throws(KeelError) -> Int {
        lock.lock()
        defer { lock.unlock() }
        return try copy(sql, parameters, to: path)
    }

    /// Ends the statement that runs now, from any thread; it throws `cancelled`. Nothing happens when none runs.
    public func interrupt() { api.interrupt(handle) }

    // MARK: - under the lock

    private func run(_ sql: String, _ parameters: [Value], streaming: Bool) throws(KeelError) -> DuckDBResult {
        guard !sql.utf8.contains(0) else { throw .invalid("SQL cannot hold a zero byte") }
        let result = DuckDBResult(api)
        if parameters.isEmpty, !streaming {
            let state = api.query(handle, sql, &result.raw)
            guard state == 0 else { throw result.failure() }
            return result
        }
        var statement: keel_duckdb_handle?
        defer { api.destroy_prepare(&statement) }
        guard api.prepare(handle, sql, &statement) == 0 else {
            throw DuckDBResult.failure(api.prepare_error(statement).map { String(cString: $0) })
        }
        let expected = Int(api.nparams(statement))
        guard expected == parameters.count else {
            throw .invalid("the SQL takes \(expected) parameters, \(parameters.count) were given")
        }
        for (i, parameter) in parameters.enumerated() {
            var value = try DuckDBValue.make(api, parameter)
            defer { api.destroy_value(&value) }
            guard api.bind_value(statement, UInt64(i + 1), value) == 0 else {
                throw DuckDBResult.failure(api.prepare_error(statement).map { String(cString: $0) })
            }
        }
        let state = streaming ? api.execute_prepared_streaming(statement, &result.raw) : api.execute_prepared(statement, &result.raw)
        guard state == 0 else { throw result.failure() }
        return result
    }

    private func load(_ table: Table, as name: String) throws(KeelError) {
        guard !table.names.isEmpty else { throw .invalid("a table without columns cannot be written") }
        var definitions: [String] = []
        for (column, values) in zip(table.names, table.columns) {
            definitions.append(DuckDBConnection.quoted(column) + " " + DuckDBValue.sqlName(values.type))
        }
        let quotedName = DuckDBConnection.quoted(name)
        _ = try run("CREATE OR REPLACE TEMP TABLE \(quotedName) (\(definitions.joined(separator: ", ")))", [], streaming: false)
        do throws(KeelError) { try ChunkWriter(api, connection: handle).append(table, to: name) } catch {
            _ = try? run("DROP TABLE IF EXISTS temp.\(quotedName)", [], streaming: false)
            throw error
        }
    }

    @discardableResult
    private func copy(_ select: String, _ parameters: [Value], to path: String) throws(KeelError) -> Int {
        let file = try AtomicFile(path: path, temporaryFolder: Folder.parent(of: path))
        let target = DuckDBConnection.literal(file.temporary)
        // Without USE_TMP_FILE DuckDB writes into the file that is there, the one that is synced.
        let result = try run(
            "COPY (\(select)) TO \(target) (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)", parameters, streaming: false)
        try file.commit()
        return Int(truncatingIfNeeded: result.rowsChanged)
    }

    /// A text as an SQL literal.
    public static func literal(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }

    /// A name as an SQL identifier.
    public static func quoted(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
}

/// A result that is freed with its last reference.
final class DuckDBResult {
    let api: keel_duckdb_api
    var raw = keel_duckdb_result()

    init(_ api: keel_duckdb_api) { self.api = api }
    deinit { api.destroy_result(&raw) }

    var rowsChanged: UInt64 { api.rows_changed(&raw) }

    /// The next rows; nil at the end, or when a streaming query failed (`checkFinished` tells which).
    func nextChunk() -> DuckDBChunk? { api.fetch_chunk(raw).map { DuckDBChunk(api, $0) } }

    /// - Throws: the error that ended the result, if one did.
    func checkFinished() throws(KeelError) {
        if let message = api.result_error(&raw) { throw DuckDBResult.failure(String(cString: message)) }
    }

    func failure() -> KeelError { DuckDBResult.failure(api.result_error(&raw).map { String(cString: $0) }) }

    /// DuckDB's message as ours: interrupts, lack of memory or disk and bugs have codes of their own, all else is the caller's SQL or data.
    static func failure(_ message: String?) -> KeelError {
        let text = message ?? "DuckDB failed without a message"
        if text.hasPrefix("INTERRUPT") || text.contains("Interrupted!") { return KeelError(.cancelled, "the query was interrupted") }
        if text.hasPrefix("Out of Memory") {
            return KeelError(.unavailable, text, hint: "raise the memory limit of the query engine, or read fewer rows at once")
        }
        if text.hasPrefix("INTERNAL") || text.hasPrefix("FATAL") { return KeelError(.internal, text) }
        if text.hasPrefix("IO Error: No files found") { return KeelError(.notFound, text) }
        return .invalid(text)
    }
}

/// Rows of a result, freed with the last reference.
final class DuckDBChunk {
    let api: keel_duckdb_api
    let handle: keel_duckdb_handle

    init(_ api: keel_duckdb_api, _ handle: keel_duckdb_handle) { (self.api, self.handle) = (api, handle) }
    deinit {
        var chunk: keel_duckdb_handle? = handle
        api.destroy_data_chunk(&chunk)
    }

    var rowCount: Int { Int(api.data_chunk_get_size(handle)) }
}

import Contracts
import Engines

/// One query over files of the prediction log, as the process that runs it is told.
///
/// The engine trusts nothing of the statement: it has no network and no extensions, may open the named files and nothing else, and its settings are
/// locked. Before that the statement is parsed: it must be one `SELECT` over the offered views. What the engine's own limit of memory misses (one
/// value of gigabytes), the limits of the process end.
public struct QueryJob: Sendable, Hashable {
    /// What may be selected from, by its name.
    public struct View: Sendable, Hashable {
        public let name: String
        public let sql: String
    }

    public let sql: String
    public let views: [View]
    /// The names of all views that the caller may use; only those that the statement can mean are made.
    public let offered: [String]
    /// The files that the views read.
    public let files: [String]
    public let limits: QueryLimits

    public init(sql: String, views: [View], offered: [String], files: [String], limits: QueryLimits) {
        self.sql = sql
        self.views = views
        self.offered = offered
        self.files = files
        self.limits = limits
    }

    public var json: JSON {
        [
            "sql": .string(sql), "views": .array(views.map { ["name": .string($0.name), "sql": .string($0.sql)] }),
            "offered": .array(offered.map(JSON.string)), "files": .array(files.map(JSON.string)), "rows": .int(Int64(limits.rowsMax)),
            "memory": .int(Int64(limits.memoryBytes)), "seconds": .int(Int64(limits.seconds)),
        ]
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "job")
        sql = try reader.string("sql")
        var views: [View] = []
        for item in try reader.objects("views") { views.append(View(name: try item.string("name"), sql: try item.string("sql"))) }
        self.views = views
        offered = (try reader.required("offered").array ?? []).compactMap(\.string)
        files = (try reader.required("files").array ?? []).compactMap(\.string)
        limits = QueryLimits(rowsMax: try reader.int("rows"), memoryBytes: try reader.int("memory"), seconds: try reader.int("seconds"))
    }

    /// Runs the query in this process and on this thread.
    /// - Returns: `columns`, `rows` and `truncated`.
    public func run() throws(KeelError) -> JSON {
        var settings = DuckDB.Settings(
            threads: 2, memoryBytesMax: limits.memoryBytes, temporaryDirectory: "", spillBytesMax: 0)
        settings.files = files
        let database = try DuckDB(settings: settings)
        let connection = try database.connect()
        for view in views { try connection.execute("CREATE VIEW \(DuckDBConnection.quoted(view.name)) AS \(view.sql)") }
        do throws(KeelError) { try QueryStatement.check(sql, offered: offered, connection) } catch { throw explained(error) }
        var columns: [JSON] = []
        var rows: [JSON] = []
        var bytes = 0
        var truncated = false
        let max = limits.rowsMax
        do throws(KeelError) {
            try connection.forEachChunk(sql, evenEmpty: true) { (table: Table) throws(KeelError) -> Bool in
                if columns.isEmpty {
                    columns = zip(table.names, table.columns).map { ["name": .string($0), "type": .string($1.type.description)] }
                }
                for i in 0..<table.rowCount {
                    guard rows.count < max else {
                        truncated = true
                        return false
                    }
                    let row = JSON.array(table.row(i).map { JSON($0) })
                    bytes += row.bytes.count
                    guard bytes <= QueryLimits.answerBytesMax else {
                        throw KeelError(
                            .payloadTooLarge, "the answer is larger than \(QueryLimits.answerBytesMax >> 20) MiB", hint: "select fewer columns or rows")
                    }
                    rows.append(row)
                }
                return true
            }
        } catch { throw explained(error) }
        return ["columns": .array(columns), "rows": .array(rows), "truncated": .bool(truncated)]
    }

    /// Memory that is not there is the limit's doing.
    private func explained(_ error: KeelError) -> KeelError {
        let isMemory = error.code == .unavailable || ["bad allocation", "bad_alloc", "allocate"].contains(where: error.message.contains)
        if isMemory { return limits.tooMuchMemory }
        return error.path == nil && error.code == .invalidArgument ? error.at("sql") : error
    }
}

/// What one query may take.
public struct QueryLimits: Sendable, Hashable {
    public var rowsMax: Int
    public var memoryBytes: Int
    public var seconds: Int
    /// Of the answer as JSON.
    public static let answerBytesMax = 16 << 20
    static let sqlBytesMax = 64 << 10

    public init(rowsMax: Int = 10_000, memoryBytes: Int = 512 << 20, seconds: Int = 30) {
        self.rowsMax = rowsMax
        self.memoryBytes = memoryBytes
        self.seconds = seconds
    }

    public var tooMuchMemory: KeelError {
        KeelError(
            .failedPrecondition, "the query needs more than the \(memoryBytes >> 20) MiB of memory that one may take",
            hint: "aggregate before joining and sorting, or select fewer columns")
    }
    public var tooLong: KeelError {
        KeelError(.deadlineExceeded, "the query took longer than \(seconds) s and was ended", hint: "narrow it down, for example by event_time")
    }
}

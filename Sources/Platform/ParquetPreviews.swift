import Contracts
import Engines
import Foundation
import Serving
import Storage
import Synchronization

/// Reads the first rows of Parquet files that nobody vouches for. A file is copied to a folder of its own and read there by a process as of a query
/// (`QueryProcess`), which may open that copy and nothing else, with limits of memory and time.
public final class ParquetPreviews: Sendable {
    /// Larger files are not read.
    public static let fileBytesMax: Int64 = 64 << 20
    /// Of a file with more columns the first are read.
    public static let columnsMax = 60
    private static let limits = QueryLimits(rowsMax: 100, memoryBytes: 256 << 20, seconds: 10)
    /// A footer of more bytes may describe thousands of columns, each of which costs time and memory: its columns are counted before any is read.
    private static let footerBytesMax = 64 << 10

    private let work: String
    private let places = Mutex(QueryPlaces())

    /// - Parameter work: a folder for what a preview needs while it is made.
    init(work: String) { self.work = URL(fileURLWithPath: work).path }

    /// - Returns: `columns` (`name`, `type`), up to 100 `rows` as lists, and whether the file has more rows or columns (`truncated`). Of a file with values that
    ///   a table cannot hold, such as structs, all values are texts.
    /// - Throws: `payloadTooLarge`, `invalidArgument` for what is no Parquet file, `deadlineExceeded`, `failedPrecondition` when the memory does not suffice,
    ///   `tooManyRequests`, `engineMissing`.
    public func firstRows(of content: ObjectReader, for caller: Caller) async throws -> JSON {
        guard content.bytes <= ParquetPreviews.fileBytesMax else {
            throw KeelError(.payloadTooLarge, "the file is larger than \(ParquetPreviews.fileBytesMax >> 20) MiB", hint: "download it")
        }
        try places.withLock { places throws(KeelError) in try places.take(for: caller) }
        defer { places.withLock { $0.give(of: caller) } }
        let folder = "\(work)/preview-\(Identifier.hex32())"
        try Folder.make(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/artifact.parquet"
        try await Blocking.run { try ParquetPreviews.copy(content, to: path) }
        do { return try await ParquetPreviews.rows(of: path, content, folder) } catch {
            throw ParquetPreviews.explained(KeelError.wrapping(error), path: path, folder: folder)
        }
    }

    private static func rows(of path: String, _ content: ObjectReader, _ folder: String) async throws -> JSON {
        let file = DuckDBConnection.parquet([path])
        var columns: [String]?
        if try await Blocking.run({ try footerBytes(of: content) }) > footerBytesMax {
            let schema = try await run(
                "SELECT name, num_children FROM artifact",
                "SELECT name, num_children FROM parquet_schema(\(DuckDBConnection.literal(path)))", path, folder)
            columns = firstColumns(schema)
        }
        let chosen = columns.map { $0.map(DuckDBConnection.quoted).joined(separator: ", ") } ?? "*"
        var answer: JSON
        do { answer = try await run("SELECT * FROM artifact", "SELECT \(chosen) FROM \(file)", path, folder) } catch let error as KeelError
            where error.message.contains("a table cannot hold")
        {
            let texts = columns.map { $0.map(DuckDBConnection.quoted).map { "CAST(\($0) AS VARCHAR) AS \($0)" }.joined(separator: ", ") }
            answer = try await run("SELECT * FROM artifact", "SELECT \(texts ?? "CAST(COLUMNS(*) AS VARCHAR)") FROM \(file)", path, folder)
        }
        guard columns != nil, let found = answer["columns"], let rows = answer["rows"] else { return answer }
        answer = ["columns": found, "rows": rows, "truncated": .bool(true)]
        return answer
    }

    /// Runs one statement over one view in a process of its own.
    private static func run(_ sql: String, _ view: String, _ path: String, _ folder: String) async throws -> JSON {
        let job = try QueryJob(json: [
            "sql": .string("\(sql) LIMIT \(limits.rowsMax + 1)"), "views": [["name": "artifact", "sql": .string(view)]],
            "offered": ["artifact"],
            "files": [.string(path)], "rows": .int(Int64(limits.rowsMax)), "memory": .int(Int64(limits.memoryBytes)),
            "seconds": .int(Int64(limits.seconds)),
        ])
        return try await QueryProcess.run(job, folder)
    }

    /// The names of the first columns, from the first rows of a schema: the root with the number of its children, then every element, parents before children.
    package static func firstColumns(_ schema: JSON) -> [String] {
        let elements = (schema["rows"]?.array ?? []).map { (name: $0[0]?.string ?? "", children: $0[1]?.integer ?? 0) }
        var names: [String] = []
        // What is still to come of a column that is a group.
        var inner: Int64 = 0
        for element in elements.dropFirst() where names.count < columnsMax {
            if inner == 0 { names.append(element.name) } else { inner -= 1 }
            inner = max(0, inner) + max(0, min(element.children, Int64(Int32.max)))
        }
        return names
    }

    /// What the file's last bytes say of the length of its footer; 0 for what is no Parquet file.
    private static func footerBytes(of content: ObjectReader) throws -> Int {
        guard content.bytes >= 12 else { return 0 }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 4)
        defer { block.deallocate() }
        guard try content.read(at: content.bytes - 8, into: block) == 4 else { return 0 }
        return block.reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    /// In the words of who looks at a file, who asked no query.
    private static func explained(_ error: KeelError, path: String, folder: String) -> KeelError {
        let hint = "download it to read it with a tool of your own"
        switch error.code {
        case .deadlineExceeded: return KeelError(error.code, "reading the file takes longer than \(limits.seconds) s", hint: hint)
        case .failedPrecondition:
            // Also what ends the process that reads: there is no telling which.
            return KeelError(
                error.code, "reading the file takes more than \(limits.memoryBytes >> 20) MiB of memory, or the file is damaged", hint: hint
            )
        case .payloadTooLarge: return KeelError(error.code, "the values of its first rows are too large to be shown", hint: hint)
        default: return KeelError(error.code, error.message.replacing(path, with: "the file").replacing(folder, with: ""), hint: error.hint)
        }
    }

    private static func copy(_ content: ObjectReader, to path: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]),
            let file = FileHandle(forWritingAtPath: path)
        else { throw KeelError(.internal, "a preview's file cannot be written") }
        defer { try? file.close() }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { block.deallocate() }
        var offset: Int64 = 0
        while offset < content.bytes {
            let count = try content.read(at: offset, into: block)
            guard count > 0 else { break }
            try file.write(contentsOf: Data(block[..<count]))
            offset += Int64(count)
        }
    }
}

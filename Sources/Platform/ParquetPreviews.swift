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
    private static let limits = QueryLimits(rowsMax: 100, memoryBytes: 256 << 20, seconds: 10)

    private let work: String
    private let places = Mutex(QueryPlaces())

    /// - Parameter work: a folder for what a preview needs while it is made.
    init(work: String) { self.work = URL(fileURLWithPath: work).path }

    /// - Returns: `columns` (`name`, `type`), up to 100 `rows` as lists, and whether the file has more (`truncated`).
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
        let limits = ParquetPreviews.limits
        let job = try QueryJob(json: [
            "sql": .string("SELECT * FROM artifact LIMIT \(limits.rowsMax + 1)"),
            "views": [["name": "artifact", "sql": .string("SELECT * FROM \(DuckDBConnection.parquet([path]))")]], "offered": ["artifact"],
            "files": [.string(path)], "rows": .int(Int64(limits.rowsMax)), "memory": .int(Int64(limits.memoryBytes)),
            "seconds": .int(Int64(limits.seconds)),
        ])
        do { return try await QueryProcess.run(job, folder) } catch {
            throw ParquetPreviews.explained(KeelError.wrapping(error), path: path, folder: folder)
        }
    }

    /// In the words of who looks at a file, who asked no query.
    private static func explained(_ error: KeelError, path: String, folder: String) -> KeelError {
        let hint = "download it to read it with a tool of your own"
        switch error.code {
        case .deadlineExceeded: return KeelError(error.code, "reading the file takes longer than \(limits.seconds) s", hint: hint)
        case .failedPrecondition:
            // Also what ends the process that reads: there is no telling which.
            return KeelError(error.code, "reading the file takes more than \(limits.memoryBytes >> 20) MiB of memory, or the file is damaged", hint: hint)
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

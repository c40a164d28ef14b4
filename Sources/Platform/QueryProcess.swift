import Contracts
import Engines
import Foundation
import Serving
import Storage
import Synchronization
import Workers

/// Runs queries over the prediction log, each in a process of its own (`keel query-worker`) with limits of memory and time: what the query engine does
/// with a statement that asks for too much ends there, and the server goes on.
public enum QueryProcess {
    /// What the process needs besides the query's memory: threads, libraries, the answer as JSON.
    private static let ownBytes = 768 << 20
    private static let outputBytesMax = QueryLimits.answerBytesMax + (8 << 20)

    /// What the process wrote.
    private final class Output: Sendable {
        private let bytes = Mutex<[UInt8]>([])

        func add(_ part: ArraySlice<UInt8>) { bytes.withLock { if $0.count + part.count <= outputBytesMax { $0 += part } } }

        var lastLine: [UInt8]? { bytes.withLock { $0.split(separator: UInt8(ascii: "\n")).last.map(Array.init) } }
    }

    /// - Parameter folder: an empty folder for the process.
    static func run(_ job: QueryJob, _ folder: String) async throws -> JSON {
        let path = folder + "/job.json"
        try Data(job.json.bytes).write(to: URL(fileURLWithPath: path))
        var limits = ProgramLimits(cpuSeconds: Int64(2 * job.limits.seconds + 5))
        limits.dataBytes = Int64(job.limits.memoryBytes + ownBytes)
        // It writes to its output, which is no file.
        limits.fileBytes = 1
        var environment = ["KEEL_DUCKDB_LIB": try DuckDB.library]
        environment["LD_LIBRARY_PATH"] = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]
        var child = ChildProcess(
            command: ["/proc/self/exe", "query-worker", path], environment: environment, workingDirectory: folder, limits: limits)
        child.graceSeconds = 0.1
        let process = child
        let output = Output()
        let end = try await withThrowingTaskGroup(of: ChildProcess.End?.self) { group in
            group.addTask {
                try await process.run { output.add($0) }
            }
            group.addTask {
                try await Task.sleep(for: .seconds(job.limits.seconds))
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard let end else { throw job.limits.tooLong }
        // Libraries may write to the output as well, before they end the process.
        let line = output.lastLine
        guard end == .exited(0), let line, let answer = try? JSON.parse(line) else {
            if case .signalled(let signal) = end, signal == SIGXCPU || signal == SIGKILL { throw job.limits.tooLong }
            throw job.limits.tooMuchMemory
        }
        guard let error = answer["error"] else { return answer }
        throw KeelError(
            error["code"]?.string.flatMap { KeelError.Code(rawValue: $0) } ?? .internal, error["message"]?.string ?? "the query failed",
            hint: error["hint"]?.string, path: error["path"]?.string)
    }

    /// The process's own part: runs the job and writes the answer, or the error, as one line.
    public static func serve(jobAt path: String) {
        let answer: JSON
        do {
            answer = try QueryJob(json: try JSON.parse(try StoredFile.contents(path, name: "the job of a query"))).run()
        } catch {
            let error = KeelError.wrapping(error)
            answer = [
                "error": [
                    "code": .string(error.code.rawValue), "message": .string(error.message), "hint": error.hint.map(JSON.string) ?? .null,
                    "path": error.path.map(JSON.string) ?? .null,
                ]
            ]
        }
        FileHandle.standardOutput.write(Data(answer.bytes + [UInt8(ascii: "\n")]))
    }
}

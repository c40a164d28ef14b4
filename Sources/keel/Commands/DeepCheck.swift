import ArgumentParser
import Contracts
import KeelClient
import NIOHTTP1
import Synchronization

extension Connection {
    /// Sends a request that is answered with lines of JSON: shows the progress, and returns the last line.
    func follow(_ path: String, body: [UInt8], contentType: String = "application/json", _ line: ProgressLine) async throws -> JSON {
        let result = Mutex(JSON.null)
        let response = try await client().send(
            .POST, path, body: body, contentType: contentType,
            onLine: { bytes in
                guard let json = try? JSON.parse(bytes) else { return }
                if let share = json["progress"]?.number { line.update(share, json.cell("stage")) } else { result.withLock { $0 = json } }
            })
        guard response.status == 200 else { return try KeelClient.decode(response) }
        return try KeelClient.decode(
            KeelClient.Response(status: result.withLock { $0["error"] == nil } ? 200 : 500, body: result.withLock { $0.bytes }))
    }
}

/// `keel doctor --deep`: has the server compare all that it stores with its digests.
enum DeepCheck {
    /// - Throws: `ExitCode` 1 when something is damaged.
    static func run(_ connection: Connection) async throws {
        let line = ProgressLine("verify")
        let answer = try await connection.follow("/api/v1/verify", body: Array("{}".utf8), line)
        let damaged = answer["damaged"]?.items ?? []
        line.finish("\(answer.cell("files")) files and \(answer.cell("objects")) objects read, \(damaged.count) damaged")
        connection.show(answer) { _ in
            if !damaged.isEmpty { Terminal.table(["damaged", "what"], damaged.map { [$0.cell("subject"), $0.cell("problem")] }) }
        }
        if !damaged.isEmpty { throw ExitCode(1) }
    }
}

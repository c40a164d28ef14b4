import Contracts
import Serving

/// A model that a server of the Open Inference Protocol runs.
struct OpenInferenceRunner: ModelRunner {
    private let server: RemoteServer
    private let facts: OpenInference.Facts
    private let path: String
    let lane: ModelLane

    init(_ description: RemoteDescription, _ server: RemoteServer) throws(KeelError) {
        self.server = server
        facts = try OpenInference.Facts(json: description.facts)
        path = OpenInference.path(description.model) + "/infer"
        lane = .pooled(threads: description.model.concurrency)
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let deadline = RemoteServer.limit(deadline)
        // What was joined, or is more than the server takes at once, goes there in parts.
        let most = facts.rowsMax ?? table.rowCount
        var parts: [Table] = []
        var start = 0
        while start < table.rowCount {
            let end = min(table.rowCount, start + most)
            let answer = try ask(table.rows(start..<end), params, until: deadline)
            if let first = parts.first, !first.hasColumns(of: answer) { throw server.broken("gave rows of different shapes") }
            parts.append(answer)
            start = end
        }
        return Table(joining: parts)
    }

    private func ask(_ rows: Table, _ params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let request = try OpenInferenceRequest(rows, facts, params: params)
        var headers = [("Content-Type", request.headerBytes == nil ? "application/json" : "application/octet-stream")]
        if let bytes = request.headerBytes { headers.append(("Inference-Header-Content-Length", String(bytes))) }
        let answer = try server.answer(
            "POST", path, headers: headers, body: request.bytes, bytesMax: OpenInferenceResponse.bytesMax(facts.outputs, rows: rows.rowCount), until: deadline)
        guard answer.status == 200 else { throw server.failure(answer, OpenInference.words) }
        let length = answer.header("Inference-Header-Content-Length")
        let headerBytes = length.map { Int($0) ?? -1 }
        try server.takeMemory(for: answer, jsonBytes: headerBytes ?? answer.body.count)
        // It is held while the answer is read.
        defer { withExtendedLifetime(answer) {} }
        do throws(OpenInferenceResponse.Fault) {
            return try OpenInferenceResponse.table(answer.body, headerBytes: headerBytes, facts.outputs, rows: rows.rowCount)
        } catch { throw server.broken(error.words) }
    }
}

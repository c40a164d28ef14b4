import Contracts
import Importing
import KeelClient
import Tracking

/// The import's calls to the server.
struct ImportServer: Sendable {
    let client: KeelClient
    let source: String
    /// A body is sent when it has grown to about this.
    static let bodyBytes = 4 << 20

    struct Place: Sendable {
        let id: String
        let state: ImportState
        let joined: Bool
    }

    func experiments(_ experiments: [ForeignExperiment], isRehearsal: Bool) async throws -> [Place] {
        var body = self.body(experiments.map(\.record))
        body["rehearsal"] = .bool(isRehearsal)
        return try items(try await client.json(.POST, "/api/v1/imports/tracking/experiments", body), experiments.count).map { item in
            Place(id: item["to"]?.string ?? "", state: try state(item["state"]), joined: item["joined"]?.bool ?? false)
        }
    }

    func check(_ path: String, _ things: [(id: String, digest: Digest)]) async throws -> [ImportState] {
        let body = body(things.map { .array([.string($0.id), .string($0.digest.hex)]) })
        return try items(try await client.json(.POST, "/api/v1/imports/\(path)/check", body), things.count).map(state)
    }

    /// Sends things in bodies of a bearable size.
    func send(_ path: String, _ records: [JSON]) async throws {
        var (part, bytes): ([JSON], Int) = ([], 0)
        for record in records {
            part.append(record)
            bytes += record.bytes.count
            if bytes > ImportServer.bodyBytes {
                _ = try await client.json(.POST, "/api/v1/imports/\(path)", body(part))
                (part, bytes) = ([], 0)
            }
        }
        if !part.isEmpty { _ = try await client.json(.POST, "/api/v1/imports/\(path)", body(part)) }
    }

    func points(_ kind: TrackingImportKind, _ points: [MetricPoint]) async throws {
        _ = try await client.json(.POST, "/api/v1/imports/tracking/\(kind.rawValue)/points", body(points.map(\.record)))
    }

    func fingerprints(_ kind: TrackingImportKind, _ ids: [String]) async throws -> [String: [String: Fingerprint]] {
        let answer = try await client.json(.POST, "/api/v1/imports/tracking/\(kind.rawValue)/fingerprints", body(ids.map(JSON.string)))
        var out: [String: [String: Fingerprint]] = [:]
        for owner in answer["items"]?.members ?? [] {
            for key in owner.value.members ?? [] { out[owner.key, default: [:]][key.key] = key.value.string.flatMap { Fingerprint($0) } }
        }
        return out
    }

    /// Size and digest of artifacts; nil for those that are not there.
    func artifacts(_ paths: [String]) async throws -> [(bytes: Int64, digest: Digest)?] {
        try items(try await client.json(.POST, "/api/v1/imports/artifacts/digests", body(paths.map(JSON.string))), paths.count).map {
            item in
            guard let bytes = item["bytes"]?.integer, let digest = item["digest"]?.string.flatMap({ Digest(hex: $0) }) else { return nil }
            return (bytes, digest)
        }
    }

    func recordArtifacts(files: Int, bytes: Int64) async throws {
        _ = try await client.json(
            .POST, "/api/v1/imports/artifacts", ["source": .string(source), "files": .int(Int64(files)), "bytes": .int(bytes)])
    }

    private func body(_ items: [JSON]) -> JSON { ["source": .string(source), "items": .array(items)] }

    private func items(_ answer: JSON, _ count: Int) throws -> [JSON] {
        guard let items = answer["items"]?.array, items.count == count else {
            throw KeelError(.internal, "the server answered for other things than were asked")
        }
        return items
    }

    private func state(_ json: JSON?) throws -> ImportState {
        guard let state = json?.string.flatMap(ImportState.init) else { throw KeelError(.internal, "the server answered with no state") }
        return state
    }
}

import Contracts
import Registry
import Serving
import Storage

/// What served each endpoint at an instant, by the ledger alone.
enum LiveAt {
    /// Which release answered an endpoint's requests, and since which event.
    struct Served: Sendable {
        let endpoint: ResourceRef
        var stable: Int?
        var since: LedgerEvent?
        var candidate: Int?
        /// `model/version` of the stable release, when an event names it.
        var model: (name: String, version: String)?
        fileprivate var noted: [LedgerEvent] = []

        fileprivate init(endpoint: ResourceRef) { self.endpoint = endpoint }
    }

    private static let endpointsMax = 200

    static func view(_ at: Timestamp, _ asked: PageRequest) async throws -> View {
        let workspace = asked.grant.workspace
        let (seq, served) = try await asked.platform.database.read(in: workspace) { db in
            let seq = try db.ledgerSeq(at: at)
            return (seq, try LiveAt.served(through: seq, workspace, db))
        }
        let shown = served.filter { $0.stable != nil && (asked.grant(.releasesRead, on: $0.endpoint.subject) != nil) }
        let table = PageTable(
            "What answered requests then",
            [.init("Endpoint"), .init("Environment"), .init("Release"), .init("Model"), .init("Since"), .init("By"), .init("Candidate")],
            shown.map { served in
                [
                    .text(served.endpoint.name, path: ConsolePath.endpoint(served.endpoint)),
                    .text(served.endpoint.environment?.rawValue ?? ""),
                    .text(served.stable.map(String.init) ?? "", path: served.stable.map { ConsolePath.release(served.endpoint, $0) }),
                    served.model.map { .text("\($0.name)/\($0.version)", path: ConsolePath.version($0.name, $0.version)) } ?? .text(""),
                    .time(served.since?.at), .text(served.since.map(LedgerRows.who) ?? ""),
                    .text(served.candidate.map { "release \($0)" } ?? ""),
                ]
            }, empty: "No endpoint served then.")
        var view: View = [
            "table": table.view(asked.query), "at": String(at.description.prefix(16)), "shown": Shown.time(at), "seq": seq,
            "eventPath": seq > 0 ? ConsolePath.event(seq) : false,
            "models": false,
        ]
        if let grant = asked.grant(.registryRead) { view["models"] = try await models(at, grant, asked) }
        return view
    }

    /// The models with their aliases then.
    private static func models(_ at: Timestamp, _ grant: Grant, _ asked: PageRequest) async throws -> View {
        let past = try await asked.platform.registry.models(at: at, limit: 100, grant).models
        return PageTable(
            "Models then", [.init("Model"), .init("Versions", isNumber: true), .init("Aliases")],
            past.map { model in
                [
                    .text(model.name, path: ConsolePath.model(model.name)), .number(Shown.count(model.versions.count)),
                    .text(model.aliases.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")),
                ]
            }, empty: "There was no model then."
        ).view(asked.query)
    }

    /// - Parameter seq: the last event that counts.
    static func served(through seq: Int64, _ workspace: WorkspaceID, _ db: some Querying) throws -> [Served] {
        var out: [Served] = []
        let prefix = EndpointSpec.kind + "/"
        var subject = try db.ledgerSubject(after: prefix, prefix: prefix)
        while let current = subject, out.count < endpointsMax {
            if let ref = ResourceRef(subject: current, in: workspace) {
                var served = Served(endpoint: ref)
                for kind in ["release.promoted", "release.rolledback", "rollout.started", "rollout.aborted", "rollout.step"] {
                    // The newest of each kind is enough, but for whom a promotion was of.
                    served.note(
                        try db.ledgerEvents(of: kind, on: current, after: 0, before: seq + 1, limit: kind == "release.promoted" ? 50 : 1))
                }
                out.append(served.settled())
            }
            subject = try db.ledgerSubject(after: current, prefix: prefix)
        }
        return out
    }
}

extension LiveAt.Served {
    fileprivate mutating func note(_ events: [LedgerEvent]) { noted += events }

    /// The state that the noted events leave.
    fileprivate func settled() -> LiveAt.Served {
        var out = self
        for event in noted.sorted(by: { $0.seq < $1.seq }) {
            let release = event.data["release"]?.integer.map { Int($0) }
            switch event.kind {
            case "release.promoted":
                out.stable = release
                out.since = event
                out.candidate = nil
            case "release.rolledback":
                let target = event.data["to"]?.integer.map { Int($0) }
                if target != out.stable {
                    out.stable = target
                    out.since = event
                }
                out.candidate = nil
            case "rollout.started", "rollout.step": out.candidate = release
            case "rollout.aborted": out.candidate = nil
            default: break
            }
        }
        let source = noted.last { $0.data["release"]?.integer == out.stable.map { Int64($0) } && $0.data["model"]?.string != nil }
        if let name = source?.data["model"]?.string, let version = source?.data["version"]?.string { out.model = (name, version) }
        out.noted = []
        return out
    }
}

import ArgumentParser
import Contracts

struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show one thing whole: a resource, a model or a version of one, a run of a pipeline.",
        discussion: """
            Examples:
              keel describe endpoint delay@staging
              keel describe model delay
              keel describe model delay/3
              keel describe run 5f0c2b7a        a run, by its id, the beginning or the end of it
            """)
    @Argument(help: "The kind: model, run, or a kind of resource.") var kind: String
    @Argument(help: "The name, or the id.") var name: String
    @OptionGroup var connection: Connection

    func run() async throws {
        switch kind.lowercased() {
        case "model", "models": try await ModelView.describe(name, connection)
        case "run", "runs": try await PipelineRunView.describe(name, connection)
        default: try await ResourceView.describe(kind, name, connection)
        }
    }
}

/// A resource for people: its declaration, its state, what names it, and what happened to it.
enum ResourceView {
    static func describe(_ kind: String, _ name: String, _ connection: Connection) async throws {
        let answer = try await connection.get("/api/v1/resources/\(escaped(kind))/\(escaped(name))")
        connection.show(answer) { show($0) }
    }

    private static func show(_ answer: JSON) {
        let resource = answer["resource"] ?? .null
        let metadata = resource["metadata"] ?? .null
        let newest = answer["revisions"]?.items.first ?? .null
        var lines = [("kind", resource.cell("kind")), ("name", metadata.cell("name"))]
        for field in ["environment", "owner", "labels"] where metadata[field] != nil { lines.append((field, metadata.cell(field))) }
        lines.append(("revision", "\(answer.cell("revision")), applied \(newest.cell("at")) by \(newest.cell("by"))"))
        lines += (answer["status"]?.members ?? []).map { ($0.key, $0.value.string ?? "") }
        let needing = (answer["needed_by"]?.items ?? []).map { "\($0.cell("id")) (\($0.cell("field")))" }
        lines.append(("needed by", needing.isEmpty ? "nothing" : needing.joined(separator: ", ")))
        for (name, value) in lines { Terminal.print(name.padding(toLength: 12, withPad: " ", startingAt: 0) + " " + value) }
        Terminal.print("")
        let spec = resource["spec"] ?? .null
        if spec.members?.isEmpty == true { Terminal.print("its spec says nothing: every field is as by default") } else { Terminal.print(json: spec) }
        Terminal.print("")
        Terminal.table(
            ["revision", "applied", "by", "digest"],
            (answer["revisions"]?.items ?? []).map {
                [$0.cell("revision"), $0.cell("at"), $0.cell("by"), String($0.cell("digest").prefix(12))]
            })
        let events = answer["events"]?.items ?? []
        guard !events.isEmpty else { return }
        Terminal.print("")
        LedgerView.show(events)
    }
}

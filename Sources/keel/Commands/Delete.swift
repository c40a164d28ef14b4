import ArgumentParser
import Contracts
import KeelClient
import NIOHTTP1

struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete a resource: what the server no longer is to hold.",
        discussion: """
            Refused while another resource names it, an endpoint serves, or a run of a pipeline is under way. With --cascade all of that goes too, after
            it was listed and agreed to. Revisions, releases, runs, logged predictions and the ledger stay. So do the rows of a dataset, which a
            Dataset of the same name finds again, unless --data removes them for good.
            Examples:
              keel delete monitor delay@staging
              keel delete dataset departures --cascade --dry-run    list what would go
              keel delete dataset departures --cascade --data --yes
            """)
    @Argument(help: "The kind: dataset, featureview, endpoint …") var kind: String
    @Argument(help: "The name.") var name: String
    @Option(help: "Of which environment, when it is in several.") var environment: String?
    @Flag(help: "Delete everything that names it too, and what is in use.") var cascade = false
    @Flag(help: "Remove the rows of datasets that go, for good.") var data = false
    @Flag(help: "Change nothing; list what would go.") var dryRun = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var connection: Connection

    func run() async throws {
        if dryRun {
            connection.show(try await call(isRehearsal: true)) { Delete.list($0, "would go") }
            return
        }
        if cascade || data, !yes {
            let rehearsal = try await call(isRehearsal: true)
            guard Terminal.isInteractive else {
                throw KeelError(
                    .failedPrecondition, "this deletes \(Delete.names(rehearsal)), and nobody can be asked",
                    hint: "--dry-run lists what would go, --yes agrees to it")
            }
            Delete.list(rehearsal, "would go")
            guard Terminal.confirm("Delete \(data ? "this and the rows for good" : "this")?") else {
                Terminal.note("nothing was deleted")
                return
            }
        }
        connection.show(try await call(isRehearsal: false)) { answer in
            Delete.list(answer, "deleted")
            if answer["ledger_seq"]?.integer != nil {
                Terminal.print("  revision \(answer.cell("revision")) (ledger \(answer.cell("ledger_seq")))")
            } else {
                Terminal.print("  the rows of \(name) are removed")
            }
        }
    }

    private func call(isRehearsal: Bool) async throws -> JSON {
        var query = ["cascade=\(cascade)", "data=\(data)", "dry_run=\(isRehearsal)"]
        if let environment { query.append("environment=\(escaped(environment))") }
        let path = "/api/v1/resources/\(escaped(kind))/\(escaped(name))?\(query.joined(separator: "&"))"
        return try await connection.client().json(.DELETE, path)
    }

    private static func names(_ answer: JSON) -> String {
        (answer["items"]?.items ?? []).map { $0.cell("id") }.joined(separator: ", ")
    }

    private static func list(_ answer: JSON, _ verb: String) {
        for item in answer["items"]?.items ?? [] {
            var facts: [String] = []
            if let needs = item["needs"]?.string { facts.append("needs \(needs)") }
            facts += (item["holds"]?.items ?? []).compactMap(\.string)
            if let use = item["in_use"]?.string { facts.append(use) }
            Terminal.print("  - \(item.cell("id"))  \(verb)" + (facts.isEmpty ? "" : " (\(facts.joined(separator: "; ")))"))
        }
        for text in answer["stays"]?.items ?? [] { Terminal.print("    stays: \(text.string ?? "")") }
    }
}

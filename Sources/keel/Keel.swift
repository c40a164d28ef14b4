import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

@main
struct Keel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keel", abstract: "The backbone for machine learning in production.",
        discussion: """
            Examples:
              keel demo                                    see the whole loop
              keel serve                                   start the server at 127.0.0.1:7070, with its home in .keel
              keel init churn                              write a small project to begin with
              keel apply Examples/flights/resources        make the server hold what the files declare
              keel ingest departures flights.csv           new snapshot of a dataset
              keel run train-delay                         run a pipeline and watch it
              keel get endpoints                           what serves, and how well
            """,
        version: KeelVersion.text,
        subcommands: [
            Serve.self, Demo.self, Init.self, Plan.self, Apply.self, Get.self, Describe.self, Delete.self, Ingest.self, Push.self, Features.self, Run.self,
            Cancel.self, Logs.self, Pause.self, Resume.self, Predict.self,
            Label.self, Query.self, QueryWorker.self,
            Import.self, Runs.self, Deploy.self, Release.self, Releases.self, Rollback.self, Promote.self, RolloutCommand.self, ModelsCommand.self, LedgerCommand.self,
            Workspaces.self, Offers.self, Access.self, Tokens.self,
            GarbageCollection.self, Doctor.self, Backup.self, Restore.self, SchemaCommand.self, Docs.self, Approve.self, VersionCommand.self,
        ])

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
        } catch let error as KeelError {
            Terminal.complain(error)
            Foundation.exit(1)
        } catch {
            // Help, the version, and arguments that cannot be read.
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if !text.isEmpty { code == .success ? Terminal.print(lines: text) : Terminal.printError(lines: text) }
            Foundation.exit(code.rawValue)
        }
    }
}

/// Which server is spoken to, and how answers are printed.
struct Connection: ParsableArguments {
    @Option(name: .long, help: "The server's address (or KEEL_URL).")
    var url: String = Connection.variable("KEEL_URL") ?? "http://127.0.0.1:7070"

    @Option(name: .long, help: "A PEM file of authorities trusted for https, besides the system's (or KEEL_CA_FILE).")
    var caFile: String?

    @Option(name: .long, help: "The workspace (or KEEL_WORKSPACE); the token's own unless given.")
    var workspace: String?

    @Flag(name: .long, help: "Print JSON for machines instead of tables.")
    var json = false

    /// A variable of the environment; one that is empty counts as unset.
    private static func variable(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The token comes from the environment only: arguments are visible to every user of a machine.
    func client() throws(KeelError) -> KeelClient {
        let named = workspace ?? Connection.variable("KEEL_WORKSPACE")
        return try KeelClient(
            url: url, token: Connection.variable("KEEL_TOKEN"), workspace: try named.map { (name) throws(KeelError) in try WorkspaceID(name) },
            authorities: caFile ?? Connection.variable("KEEL_CA_FILE"))
    }

    func get(_ path: String) async throws -> JSON { try await client().json(.GET, path) }
    func post(_ path: String, _ body: JSON) async throws -> JSON { try await client().json(.POST, path, body) }

    /// The same for what may take minutes: a terminal shows what is waited for, and how long already.
    func post(_ path: String, _ body: JSON, _ title: String, waitingFor what: String) async throws -> JSON {
        let line = ProgressLine(title)
        let showing = Task {
            var ticks = 0
            while (try? await Task.sleep(for: .milliseconds(200))) != nil {
                ticks += 1
                // What is done in a moment shows nothing.
                if ticks > 5 { line.update(nil, "\(what), \(ticks / 5) s") }
            }
        }
        defer {
            showing.cancel()
            line.clear()
        }
        return try await post(path, body)
    }

    /// Prints JSON when asked for, otherwise what `text` makes of it.
    func show(_ answer: JSON, _ text: (JSON) -> Void) {
        if json { Terminal.print(json: answer) } else { text(answer) }
    }
}

/// A path component that is safe in a URL.
func escaped(_ text: String) -> String {
    text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? ""
}

extension JSON {
    /// A scalar for a table cell or a line: one line, safe to show.
    package func cell(_ key: String) -> String {
        switch self[key] ?? .null {
        case .null: "-"
        case .string(let v): Terminal.safe(v)
        case .int(let v): String(v)
        case .double(let v): Terminal.decimals(v, 4)
        case .bool(let v): v ? "yes" : "no"
        case let other: Terminal.safe(other.text)
        }
    }
    var items: [JSON] { array ?? [] }
}

import ArgumentParser
import Contracts
import Engines
import Foundation
import KeelClient
import NIOHTTP1
import Platform

struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "Read and verify the ledger: every change, who made it, chained by hash.",
        subcommands: [List.self, Verify.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List events.", discussion: "Examples:\n  keel ledger --kind release.\n  keel ledger --subject Endpoint/delay --json")
        @Option(help: "Only this kind; a kind that ends in '.' is a prefix.") var kind: String?
        @Option(help: "Only events on this subject.") var subject: String?
        @Option(help: "Only events after this number.") var after: Int64 = 0
        @Option(help: "At most this many.") var limit = 200
        @OptionGroup var connection: Connection

        func run() async throws {
            var query = "after=\(after)&limit=\(limit)"
            if let kind { query += "&kind=\(escaped(kind))" }
            if let subject { query += "&subject=\(escaped(subject))" }
            connection.show(try await connection.get("/api/v1/ledger?\(query)")) { answer in
                Terminal.table(
                    ["seq", "at", "by", "kind", "subject", "data"],
                    (answer["events"]?.items ?? []).map {
                        [
                            $0.cell("seq"), $0.cell("at"), $0.cell("caller"), $0.cell("kind"), $0.cell("subject"),
                            String(($0["data"] ?? .null).text.prefix(100)),
                        ]
                    })
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read the whole chain and name the first event that was altered, removed or moved.")
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.get("/api/v1/ledger/verify")
            connection.show(answer) { answer in
                if let problem = answer["problem"]?.string {
                    Terminal.print("BROKEN at event \(answer.cell("seq")): \(problem)")
                } else {
                    Terminal.print("\(answer.cell("events")) events, unbroken; head \(String(answer.cell("head").prefix(12)))")
                }
            }
            if answer["problem"]?.string != nil { throw ExitCode(1) }
        }
    }
}

struct Tokens: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list and revoke access tokens.", subcommands: [Create.self, List.self, Revoke.self], defaultSubcommand: List.self)

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token; its secret is shown once.",
            discussion:
                "Personas: \(Persona.allCases.filter { $0 != .system }.map(\.rawValue).joined(separator: ", "))\nExample: keel tokens create dana --persona data-scientist"
        )
        @Argument(help: "The token's name: who uses it.") var name: String
        @Option(help: "What its holder is.") var persona: String
        @Option(help: "Ends after this length of time, such as 90d.") var expires: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            var body: JSON = ["name": .string(name), "persona": .string(persona)]
            if let expires { body["expires"] = .string(expires) }
            connection.show(try await connection.post("/api/v1/tokens", body)) { answer in
                Terminal.print(answer.cell("secret"))
                FileHandle.standardError.write(Data("This is the only time the secret is shown: export KEEL_TOKEN=…\n".utf8))
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List tokens, without their secrets.")
        @OptionGroup var connection: Connection

        func run() async throws {
            connection.show(try await connection.get("/api/v1/tokens")) { answer in
                Terminal.table(
                    ["name", "persona", "created", "expires"],
                    (answer["tokens"]?.items ?? []).map { [$0.cell("name"), $0.cell("persona"), $0.cell("created"), $0.cell("expires")] })
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a token, at once.")
        @Argument(help: "The token's name.") var name: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.client().json(.DELETE, "/api/v1/tokens/\(escaped(name))")
            connection.show(answer) { _ in Terminal.print("\(name) is revoked") }
        }
    }
}

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the native engines: version, where each was found, and the mend where one is missing.",
        discussion: """
            With --deep a running server also reads all that it stores and compares it with the digests.
            Examples:
              keel doctor --json
              keel doctor --deep
            """)
    @Flag(help: "Have the server compare all that it stores with its digests.") var deep = false
    @OptionGroup var connection: Connection

    func run() async throws {
        if deep { return try await DeepCheck.run(connection) }
        let reports = EngineReport.all()
        if connection.json {
            let engines = reports.map { report -> JSON in
                [
                    "name": .string(report.name), "version": report.version.map(JSON.string) ?? .null,
                    "path": report.path.map(JSON.string) ?? .null, "mend": report.mend.map(JSON.string) ?? .null,
                ]
            }
            Terminal.print(JSON.of(["version": .string(KeelVersion.text), "engines": .array(engines)]).pretty)
        } else {
            Terminal.table(
                ["engine", "version", "found at", "mend"], reports.map { [$0.name, $0.version ?? "-", $0.path ?? "-", $0.mend ?? ""] })
        }
        if reports.contains(where: { $0.mend != nil }) { throw ExitCode(1) }
    }
}

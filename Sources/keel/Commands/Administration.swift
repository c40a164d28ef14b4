import ArgumentParser
import Contracts
import Engines
import Foundation
import KeelClient
import NIOHTTP1

struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "Read and verify the ledger: every change, who made it, chained by hash.",
        subcommands: [List.self, Verify.self, Checkpoint.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List events, the newest first.",
            discussion: """
                Examples:
                  keel ledger --kind release. --limit 20
                  keel ledger --subject Endpoint/delay --since 2026-11-01
                  keel ledger --oldest --after 1200 --json
                """)
        @Option(help: "Only this kind; a kind that ends in '.' is a prefix.") var kind: String?
        @Option(help: "Only events on this subject, as Kind/name.") var subject: String?
        @Option(help: "Only events at this instant or later, in UTC: 2026-11-01 or 2026-11-01T10:00:00Z.") var since: String?
        @Option(help: "Only events after this number.") var after: Int64 = 0
        @Option(help: "At most this many.") var limit = 50
        @Flag(help: "The oldest first.") var oldest = false
        @OptionGroup var connection: Connection

        func run() async throws {
            var query = "order=\(oldest ? "oldest" : "newest")&after=\(after)&limit=\(limit)"
            if let kind { query += "&kind=\(escaped(kind))" }
            if let subject { query += "&subject=\(escaped(subject))" }
            if let since { query += "&since=\(escaped(since))" }
            connection.show(try await connection.get("/api/v1/ledger?\(query)")) { answer in
                LedgerView.show(answer["events"]?.items ?? [])
                if answer["next"]?.integer != nil { Terminal.print("(\(limit) events; --limit shows more)") }
            }
        }
    }
}

struct Tokens: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list, rotate and revoke access tokens.", subcommands: [Create.self, List.self, Rotate.self, Revoke.self],
        defaultSubcommand: List.self)

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token; its secret is shown once.",
            discussion:
                """
                Personas: \(Persona.allCases.filter { $0 != .system }.map(\.rawValue).joined(separator: ", "))
                Examples:
                  keel tokens create dana --persona data-scientist
                  keel tokens create scoring --persona service --only predictions.create --names 'fraud-*' --expires 30d
                  keel tokens create assistant --persona data-scientist --acts-for dana
                """)
        @Argument(help: "The token's name: who uses it.") var name: String
        @Option(help: "What its holder is; a member may do what role bindings give.") var persona = Persona.member.rawValue
        @Option(help: "Ends after this length of time, such as 30d; 90d unless given, or 'never'.") var expires: String?
        @Option(help: "Only this action, such as predictions.create; may be repeated.") var only: [String] = []
        @Option(help: "Only for things in this environment; may be repeated.") var environment: [String] = []
        @Option(help: "Only for things of this kind, such as Endpoint; may be repeated.") var kind: [String] = []
        @Option(help: "Only for things with these names; '*' stands for any characters; may be repeated.") var names: [String] = []
        @Option(help: "Acts in the name of this token, with no more than both may; the ledger names both.") var actsFor: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            var body: JSON = ["name": .string(name), "persona": .string(persona)]
            if let expires { body["expires"] = .string(expires) }
            if let actsFor { body["acts_for"] = .string(actsFor) }
            let limits = [("actions", only), ("environments", environment), ("kinds", kind), ("names", names)].filter { !$0.1.isEmpty }
            if !limits.isEmpty {
                body["scope"] = .object(limits.map { JSON.Member($0.0, .array($0.1.map(JSON.string))) })
            }
            connection.show(try await connection.post("/api/v1/tokens", body)) { answer in
                Terminal.print(answer.cell("secret"))
                Terminal.note("this is the only time the secret is shown: export KEEL_TOKEN=…")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List tokens, without their secrets.")
        @OptionGroup var connection: Connection

        func run() async throws {
            connection.show(try await connection.get("/api/v1/tokens")) { answer in
                Terminal.table(
                    ["name", "persona", "state", "created", "expires", "last used"],
                    (answer["tokens"]?.items ?? []).map {
                        [
                            $0.cell("name"), $0.cell("persona"), List.state($0, at: .systemNow()), $0.cell("created_at"),
                            $0.cell("expires_at"), $0.cell("last_used_at"),
                        ]
                    })
            }
        }

        /// `good`, `expired`, or `revoked` with the instant.
        package static func state(_ token: JSON, at now: Timestamp) -> String {
            if let revoked = token["revoked_at"]?.string { return "revoked \(Terminal.safe(revoked))" }
            guard let end = token["expires_at"]?.string.flatMap({ Timestamp($0) }), end <= now else { return "good" }
            return "expired"
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a token another secret; it is shown once.",
            discussion: "The secret until now stays good for a while, so that programs can be given the new one without a gap.")
        @Argument(help: "The token's name.") var name: String
        @Option(help: "How long the secret until now stays good, up to 30d; 1h unless given, 0s when it is in wrong hands.") var overlap: String?
        @Option(help: "Ends after this length of time; its life unless given.") var expires: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            var body: JSON = [:]
            if let overlap { body["overlap"] = .string(overlap) }
            if let expires { body["expires"] = .string(expires) }
            connection.show(try await connection.post("/api/v1/tokens/\(escaped(name))/rotate", body)) { answer in
                Terminal.print(answer.cell("secret"))
                Terminal.note("the secret until now is good until \(Terminal.safe(answer["token"]?["previous_until"]?.string ?? ""))")
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

struct Workspaces: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list and delete workspaces: tenants with names, roles and a history of their own.",
        discussion: """
            Workspaces are managed from the workspace `default`. Everything that has a name is in one.
            """, subcommands: [List.self, Create.self, Delete.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the workspaces in which you have a role.")
        @OptionGroup var connection: Connection

        func run() async throws {
            connection.show(try await connection.get("/api/v1/workspaces")) { answer in
                Terminal.table(
                    ["name", "created", "by", "description"],
                    (answer["workspaces"]?.items ?? []).map {
                        [$0.cell("name"), $0.cell("created_at"), $0.cell("created_by"), $0.cell("description")]
                    })
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a workspace; its name is used once.")
        @Argument(help: "2 to 63 lower-case letters, digits or '-'.") var name: String
        @Option(help: "What it is for.") var description: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            var body: JSON = ["name": .string(name)]
            if let description { body["description"] = .string(description) }
            connection.show(try await connection.post("/api/v1/workspaces", body)) { answer in
                Terminal.print("workspace \(answer.cell("name")) is there; --workspace \(answer.cell("name")) works in it")
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a workspace that holds nothing.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.client().json(.DELETE, "/api/v1/workspaces/\(escaped(name))")
            connection.show(answer) { _ in Terminal.print("workspace \(name) is deleted") }
        }
    }
}

struct Access: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find out who may do what, and why.", subcommands: [Explain.self], defaultSubcommand: Explain.self)

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Name the role or role binding that lets somebody do something, or say that none does.",
            discussion: """
                Examples:
                  keel access explain ci releases.deploy Endpoint/fraud-eu@staging
                  keel access explain people:dana models.approve Model/churn --group people:risk
                It exits with 1 when it is not allowed.
                """)
        @Argument(help: "A token's name, or ISSUER:SUBJECT.") var who: String
        @Argument(help: "The action; docs/reference/permissions.md lists them.") var verb: String
        @Argument(help: "Kind/name, Kind/name@environment, or '*' for everything in the workspace.") var what = "*"
        @Option(help: "A group the person is in, as ISSUER:GROUP; may be repeated.") var group: [String] = []
        @OptionGroup var connection: Connection

        func run() async throws {
            var path = "/api/v1/access/explain?who=\(escaped(who))&verb=\(escaped(verb))&what=\(escaped(what))"
            for each in group { path += "&group=\(escaped(each))" }
            let answer = try await connection.get(path)
            let isAllowed = answer["allowed"]?.bool == true
            connection.show(answer) { answer in
                let may = isAllowed ? "may" : "may not"
                Terminal.print(
                    "\(answer.cell("who")) \(may) \(answer.cell("action")) on \(answer.cell("subject")) in the workspace \(answer.cell("workspace")): \(answer.cell("because"))"
                )
                if !isAllowed { Terminal.note("roles that allow it: \((answer["roles"]?.items ?? []).map { $0.string ?? "" }.joined(separator: ", "))") }
            }
            if !isAllowed { throw ExitCode(1) }
        }
    }
}

import ArgumentParser
import Contracts

struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "Read and verify the ledger: every change, who made it, chained by hash.",
        subcommands: [List.self, Verify.self],
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

/// Events of the ledger for people.
enum LedgerView {
    static func show(_ events: [JSON]) {
        Terminal.table(
            ["seq", "at", "by", "kind", "subject", "data"],
            events.map { event in
                ["seq", "at", "caller", "kind", "subject"].map(event.cell) + [text(event["data"] ?? .null)]
            }, wrapsLast: true)
    }

    /// `release 8, reason logloss > incumbent.logloss * 1.05`: texts whole, lists of things by their ids.
    static func text(_ data: JSON) -> String {
        (data.members ?? []).filter { !$0.value.isNull }.map { member in
            if let items = member.value.array, !items.isEmpty {
                let names = items.compactMap { $0["id"]?.string ?? $0.string }
                return "\(member.key) " + (names.count == items.count ? names.joined(separator: " ") : member.value.text)
            }
            return "\(member.key) \(member.value.string ?? member.value.text)"
        }.joined(separator: ", ")
    }
}

import ArgumentParser
import Contracts
import Foundation
import KeelClient
import Platform

struct Query: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask the logged predictions by SQL.",
        discussion: """
            One SELECT statement, in DuckDB's SQL. Each endpoint that you may read is a table of its predictions: id, release, model, version, event_time,
            asked_at, shadow, score, label, label_at, latency_ns, request, and the model's inputs and outputs under their own names.
            Examples:
              keel query 'SELECT release, count(*), avg(score) FROM churn GROUP BY release'
              keel query 'SELECT * FROM "churn@staging" WHERE label IS NOT NULL LIMIT 10' --csv
            """)
    @Argument(help: "The SELECT statement.") var sql: String
    @Option(help: "How many rows the answer has at most, up to 100000.") var limit: Int = 10_000
    @Option(help: "After how many seconds the query is ended, up to 300.") var timeout: Int = 30
    @Flag(help: "Print CSV instead of a table.") var csv = false
    @OptionGroup var connection: Connection

    func validate() throws {
        if csv, connection.json { throw ValidationError("give one of --csv and --json") }
    }

    func run() async throws {
        let answer = try await connection.post(
            "/api/v1/query", ["sql": .string(sql), "rows": .int(Int64(limit)), "seconds": .int(Int64(timeout))])
        let names = (answer["columns"]?.items ?? []).map { $0["name"]?.string ?? "" }
        // A table shows a missing value like other tables do; in CSV it is an empty field.
        let missing = csv ? "" : "-"
        let rows = (answer["rows"]?.items ?? []).map { ($0.array ?? []).map { $0.isNull ? missing : $0.string ?? $0.text } }
        if csv {
            for row in [names] + rows { Terminal.print(row.map(Query.csvField).joined(separator: ",")) }
        } else {
            connection.show(answer) { _ in Terminal.table(names, rows) }
        }
        for note in answer["notes"]?.items ?? [] { Terminal.printError(lines: "note: \(note.string ?? "")") }
        if answer["truncated"]?.bool == true, !connection.json {
            Terminal.printError(lines: "note: these are the first \(rows.count) rows; there are more (--limit)")
        }
    }

    static func csvField(_ text: String) -> String {
        guard text.contains(where: { ",\"\r\n".contains($0) || $0 == "\r\n" }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}

/// Runs one query for the server, which starts it with limits of memory and time.
struct QueryWorker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query-worker", abstract: "Run one query for the server.", shouldDisplay: false)
    @Argument(help: "The file of the job.") var job: String

    func run() { QueryProcess.serve(jobAt: job) }
}

import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

struct Ingest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a new snapshot of a dataset from a file.",
        discussion: """
            CSV and JSON (lines, or one array), plain, .gz or .zip, and Parquet. Rows that break the contract go to quarantine with the reason and the line;
            when no row is left, the command fails.
            Examples:
              keel ingest departures flights.csv.gz
              keel ingest departures flights.csv --until 2013-04-01
              keel ingest departures 'archive.zip#flights.csv'
              keel ingest departures flights.csv --overwrite    its rows replace all others; earlier snapshots stay
            """)
    @Argument(help: "The dataset.") var dataset: String
    @Argument(help: "The file; ARCHIVE.zip#FILE names one of a zip archive.") var file: String
    @Flag(help: "Replace all rows of the dataset with those of the file.") var overwrite = false
    @Option(help: "Only rows whose event time is at or after this instant.") var from: String?
    @Option(help: "Only rows whose event time is before this instant.") var until: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        var path = file
        var member: String?
        if let mark = file.lastIndex(of: "#"), !FileManager.default.fileExists(atPath: file) {
            path = String(file[..<mark])
            member = String(file[file.index(after: mark)...])
        }
        guard let data = FileManager.default.contents(atPath: path) else { throw KeelError.notFound("there is no file '\(path)'") }
        var query = "file=\(escaped((path as NSString).lastPathComponent))"
        if let member { query += "&member=\(escaped(member))" }
        if overwrite { query += "&overwrite=true" }
        if let from { query += "&from=\(escaped(from))" }
        if let until { query += "&until=\(escaped(until))" }
        let line = ProgressLine("ingest \(dataset)")
        let answer = try await connection.follow(
            "/api/v1/datasets/\(escaped(dataset))/ingest?\(query)", body: Array(data), contentType: "application/octet-stream", line)
        line.finish("\(answer.cell("rows")) rows, \(answer.cell("quarantined")) quarantined")
        connection.show(answer) { answer in
            Terminal.print(
                "snapshot \(answer.cell("snapshot")) of \(dataset): \(answer.cell("rows")) rows, \(answer.cell("filtered")) filtered out, \(answer.cell("quarantined")) in quarantine"
            )
            for reason in answer["reasons"]?.items ?? [] {
                Terminal.print("  \(reason.cell("count")) × \(reason.cell("reason")) (first at line \(reason.cell("line")))")
            }
            for warning in answer["warnings"]?.items ?? [] { Terminal.print("  warning: \(warning.string ?? "")") }
        }
        if answer["rows"]?.integer == 0, let refused = answer["quarantined"]?.integer, refused > 0 {
            throw KeelError(
                .contractViolation,
                "no row of \(file) was kept: all \(refused) are in quarantine; snapshot \(answer.cell("snapshot")) was made \(overwrite ? "and is empty" : "and adds no rows")",
                hint: overwrite ? "the reasons are above; correct the file and ingest it with --overwrite again" : "the reasons are above")
        }
    }
}

struct Push: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Push events (JSON lines) to a dataset's stream; features see them at once.",
        discussion: "Example: keel push departures events.jsonl")
    @Argument(help: "The dataset.") var dataset: String
    @Argument(help: "A file of JSON lines; - is standard input.") var file: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let lines = try InputFile.read(file).split(separator: 10).map { Array($0) }
        let client = try connection.client()
        let progress = ProgressLine("push \(dataset)")
        var (accepted, rejected) = (Int64(0), [JSON]())
        for start in stride(from: 0, to: lines.count, by: 1000) {
            let part = lines[start..<min(start + 1000, lines.count)]
            let body = Array("{\"rows\":[".utf8) + Array(part.joined(separator: [UInt8(ascii: ",")])) + Array("]}".utf8)
            let answer = try KeelClient.decode(try await client.send(.POST, "/api/v1/datasets/\(escaped(dataset))/events", body: body))
            accepted &+= answer["accepted"]?.integer ?? 0
            for row in answer["rejected"]?.items ?? [] {
                rejected.append(["line": .int(Int64(start + 1) &+ (row["index"]?.integer ?? 0)), "reason": row["reason"] ?? .null])
            }
            progress.update(Double(start + part.count) / Double(lines.count), "\(accepted) accepted")
        }
        progress.finish("\(accepted) accepted, \(rejected.count) in quarantine")
        connection.show(["accepted": .int(accepted), "rejected": .array(rejected)]) { answer in
            for row in rejected { Terminal.print("  line \(row.cell("line")): \(row.cell("reason"))") }
        }
    }
}

struct Features: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read online features, and prove that they equal the offline ones.", subcommands: [Verify.self, Read.self])

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replay logged online reads through the offline join and report every difference.",
            discussion: "Example: keel features verify delay --sample 5000")
        @Argument(help: "The endpoint whose prediction log holds the reads.") var endpoint: String
        @Option(help: "How many logged reads, spread evenly over the log.") var sample = 5000
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.post(
                "/api/v1/features/verify", ["endpoint": .string(endpoint), "sample": .int(Int64(sample))])
            connection.show(answer) { answer in
                Terminal.print(
                    "\(answer.cell("rows")) reads, \(answer.cell("compared")) values compared, \(answer.cell("differences")) differences")
                if let skipped = answer["skipped"]?.integer, skipped > 0 {
                    Terminal.print("  \(skipped) reads are skipped: they were asked for under another definition of the service")
                }
                if let inexact = answer["inexact"]?.integer, inexact > 0 {
                    Terminal.print("  \(inexact) reads are inexact: they asked for a time too far before the newest event of their key")
                }
                if let undecided = answer["undecided"]?.integer, undecided > 0 {
                    Terminal.print("  \(undecided) values are undecided: rows were on their way into the features while they were read")
                }
                for row in (answer["examples"]?.items ?? []).prefix(20) {
                    Terminal.print(
                        "  \(row.cell("id")) \(row.cell("feature")): online \(row.cell("online")), offline \(row.cell("offline"))")
                }
            }
            if answer["differences"]?.integer != 0 { throw ExitCode(1) }
        }
    }

    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read the features of a service now.",
            discussion: #"Example: keel features read delay '{"carrier":"UA","origin":"EWR", …}'"#)
        @Argument(help: "The feature service.") var service: String
        @Argument(help: "A JSON object of keys and request columns, or a list of them.") var row: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let given = try JSON.parse(row)
            let rows = given.array ?? [given]
            let answer = try await connection.post("/api/v1/features/\(escaped(service))/read", ["rows": .array(rows)])
            connection.show(answer) { answer in
                for (i, row) in (answer["rows"]?.array ?? []).enumerated() {
                    if rows.count > 1 { Terminal.print("row \(i + 1)") }
                    Terminal.table(["feature", "value"], (row.members ?? []).map { [$0.key, $0.value.isNull ? "-" : $0.value.text] })
                }
            }
        }
    }
}

/// What a command is given to read: a file, or `-` for standard input.
enum InputFile {
    /// - Throws: `notFound` for a file that cannot be read.
    static func read(_ path: String) throws(KeelError) -> Data {
        guard path != "-" else { return FileHandle.standardInput.readDataToEndOfFile() }
        guard let data = FileManager.default.contents(atPath: path) else { throw .notFound("there is no file '\(path)'") }
        return data
    }
}

import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

struct Predict: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask an endpoint for a prediction.",
        discussion: #"""
            Examples:
              keel predict delay '{"carrier":"UA","origin":"EWR", …}'
              keel predict delay @rows.json
            """#)
    @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @Argument(help: "A JSON object of request columns, or a list of them; @FILE reads them from a file, - from standard input.") var rows: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let text = rows == "-" ? "@-" : rows
        let parsed = try text.hasPrefix("@") ? JSON.parse(Array(InputFile.read(String(text.dropFirst())))) : JSON.parse(text)
        let isRows = parsed.members != nil || parsed.array?.allSatisfy { $0.members != nil } == true
        guard isRows else {
            throw KeelError.invalid("a row is an object that names its columns", hint: #"{"COLUMN": VALUE, …}, or a list of such objects"#, path: "rows")
        }
        let body: JSON = ["dataframe_records": parsed.array == nil ? .array([parsed]) : parsed]
        let answer = try await connection.post("/endpoints/\(escaped(endpoint))/invocations", body)
        connection.show(answer) { answer in
            let rows = answer["predictions"]?.items ?? []
            let names = rows.first?.members?.map(\.key)
            Terminal.table(
                (names ?? ["prediction"]) + ["release"],
                rows.map { row in (names.map { $0.map { cell(row[$0] ?? .null) } } ?? [cell(row)]) + [answer.cell("release")] })
        }
    }

    private func cell(_ value: JSON) -> String {
        if case .double = value { Terminal.decimals(value.number, 4) } else { value.string ?? value.text }
    }
}

struct Label: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Post the truth of an earlier prediction.",
        discussion: """
            A label whose prediction is not logged is kept for 30 days and joins when it is; the command says so and exits with 1.
            It is of the predictions of its id on every endpoint, unless one is named.
            Examples:
              keel label 0190f3c2-… 1
              keel label flight-17 0 --endpoint delay@staging
              keel label click-1 setosa
            """)
    @Argument(help: "The prediction's id.") var id: String
    @Argument(help: "The true value: a number, true, false, or a text such as a class.") var value: String
    @Option(help: "Only of predictions of this endpoint.") var endpoint: String?
    @Flag(help: "Take the value for a text, whatever it looks like.") var text = false
    @OptionGroup var connection: Connection

    func run() async throws {
        let path = endpoint.map { "/api/v1/endpoints/\(escaped($0))/labels" } ?? "/api/v1/labels"
        let answer = try await connection.post(path, ["labels": [["id": .string(id), "value": text ? .string(value) : Label.typed(value)]]])
        if let reason = answer["rejected"]?[0]?["reason"]?.string { throw KeelError.invalid(reason, path: "value") }
        guard let days = answer["unknown_kept_days"]?.integer, answer["unknown"]?.integer != 0 else {
            return connection.show(answer) { _ in Terminal.print("the prediction has its label") }
        }
        connection.show(answer) { _ in
            Terminal.print("no prediction '\(id)' is logged yet: its label is kept for \(days) days and joins when it is")
        }
        throw ExitCode(1)
    }

    /// What a word says: `true`, `12`, `0.5`, or else a text.
    static func typed(_ word: String) -> JSON {
        if word == "true" || word == "false" { return .bool(word == "true") }
        if let number = Int64(word) { return .int(number) }
        // "nan" and "infinity" are texts, as are hexadecimal numbers.
        if let number = Double(word), number.isFinite, word.allSatisfy({ "0123456789+-.eE".contains($0) }) { return .double(number) }
        return .string(word)
    }
}

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Release a registered model to an endpoint; it goes through the endpoint's rollout.",
        discussion: "Example: keel release delay models:/delay@champion")
    @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @Argument(help: "The model, as models:/NAME/VERSION or models:/NAME@ALIAS.") var model: String
    @Flag(help: "Release it although its gate refused it, for those who may.") var force = false
    @Option(help: "Whether callers may notice that it answers (any), such as by an input more; else that is as the endpoint says.") var signature: String?
    @Option(help: "Why, for the ledger.") var reason: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["model": .string(model), "force": .bool(force)]
        if let signature { body["signature"] = .string(signature) }
        if let reason { body["reason"] = .string(reason) }
        let answer = try await connection.post(
            "/api/v1/endpoints/\(escaped(endpoint))/releases", body, "release \(model)", waitingFor: "the model is loaded and tried")
        connection.show(answer) {
            Terminal.print(
                "release \(endpoint)/\($0.cell("release")) of models:/\($0.cell("model"))/\($0.cell("version")), gate \($0.cell("gate"))")
        }
    }
}

struct Releases: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the releases of an endpoint, or promote one to another environment.",
        discussion: """
            Examples:
              keel releases delay
              keel releases promote delay@staging --to production
            """,
        subcommands: [List.self, Promote.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the releases of an endpoint.", discussion: "Example: keel releases delay@staging")
        @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.get("/api/v1/endpoints/\(escaped(endpoint))/releases")
            connection.show(answer) { answer in
                Terminal.table(
                    ["release", "model", "gate", "state", "from", "created", "by", "digest"],
                    (answer["releases"]?.items ?? []).map {
                        [
                            $0.cell("number"), $0.cell("model"), $0.cell("gate"), $0.cell("state"), source($0),
                            $0.cell("created"), $0.cell("by"), String($0.cell("digest").prefix(12)),
                        ]
                    })
            }
        }

        private func source(_ release: JSON) -> String {
            guard let source = release["promoted_from"], !source.isNull else { return "-" }
            return "\(source.cell("endpoint"))/\(source.cell("release"))"
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Release what serves in one environment to the endpoint of the same name in another, with its evidence.",
            discussion: """
                The release goes through the rollout of the endpoint there. It keeps its model version, bundle and gate, and says who released it before, how
                often it answered, and what its rollout and monitors measured.
                Example: keel releases promote delay@staging --to production
                """)
        @Argument(help: "The endpoint that the release comes from, as NAME@ENVIRONMENT.") var endpoint: String
        @Option(help: "The environment that it goes to.") var to: String
        @Option(help: "The release's number; by default the one that answers all requests.") var release: Int?
        @Flag(help: "Promote it although its gate refused it, for those who may.") var force = false
        @OptionGroup var connection: Connection

        func run() async throws {
            let source = try ResourceRef("Endpoint", qualifiedName: endpoint, in: .default, path: "endpoint")
            let target = ResourceRef("Endpoint", source.name, environment: try EnvironmentName(to, path: "to")).qualifiedName
            var body: JSON = ["from": .string(source.qualifiedName), "force": .bool(force)]
            if let release { body["release"] = .int(Int64(release)) }
            let answer = try await connection.post("/api/v1/endpoints/\(escaped(target))/releases", body)
            connection.show(answer) { answer in
                let evidence = answer["promoted_from"]?["evidence"] ?? .null
                Terminal.print(
                    "release \(target)/\(answer.cell("release")) from \(answer["promoted_from"]?.cell("endpoint") ?? "-")/"
                        + "\(answer["promoted_from"]?.cell("release") ?? "-"): models:/\(answer.cell("model"))/\(answer.cell("version")), "
                        + "gate \(answer.cell("gate")), \(evidence.cell("predictions")) predictions there")
            }
        }
    }
}

struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go back to an earlier release, at once.", discussion: "Example: keel rollback delay --to 3 --reason 'scores too high'")
    @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @Option(help: "The release's number; by default the one before.") var to: Int?
    @OptionGroup var steering: Steering
    @OptionGroup var connection: Connection

    func run() async throws {
        var body = try steering.body()
        if let to { body["to"] = .int(Int64(to)) }
        let answer = try await connection.post(
            "/api/v1/endpoints/\(escaped(endpoint))/rollback", body, "rollback \(endpoint)", waitingFor: "the release is loaded")
        connection.show(answer) { Terminal.print("\(endpoint) serves release \($0.cell("release"))") }
    }
}

struct Promote: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give the candidate of a rollout all traffic, at once.", discussion: "Example: keel promote delay")
    @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @OptionGroup var steering: Steering
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.post("/api/v1/endpoints/\(escaped(endpoint))/promote", try steering.body())
        connection.show(answer) { Terminal.print("\(endpoint) serves release \($0.cell("release"))") }
    }
}

/// Why somebody steers a rollout, and what they saw when they decided to.
struct Steering: ParsableArguments {
    @Option(help: "Why, for the ledger.") var reason: String?
    @Option(help: "What you saw serving, as STABLE or STABLE/CANDIDATE, such as 3/4. Nothing is changed when something else does by now.")
    var expecting: String?

    func body() throws -> JSON {
        var body: JSON = [:]
        if let reason { body["reason"] = .string(reason) }
        guard let expecting else { return body }
        let numbers = expecting.split(separator: "/", omittingEmptySubsequences: false).map { Int64($0) }
        guard (1...2).contains(numbers.count), let stable = numbers.first ?? nil, let candidate = numbers.last ?? nil else {
            throw KeelError.invalid("'\(expecting.prefix(40))' is not what serves", hint: "write STABLE or STABLE/CANDIDATE, such as 3/4", path: "--expecting")
        }
        body["expecting"] = ["stable": .int(stable), "candidate": numbers.count == 2 ? .int(candidate) : .null]
        return body
    }
}

struct RolloutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollout", abstract: "Pause a rollout, or let it go on.",
        discussion: """
            Examples:
              keel rollout pause delay --reason "the labels of last week are late"
              keel rollout resume delay --reason "they are here"
            """,
        subcommands: [Pause.self, Resume.self])

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Keep a rollout in its stage until it is resumed.",
            discussion: """
                Requests are answered and counted as before. A condition of the rollout that becomes true still takes the candidate back.
                Example: keel rollout pause delay --reason "the labels of last week are late"
                """)
        @OptionGroup var rollout: PausedRollout

        func run() async throws { try await rollout.set("pause") }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a paused rollout go on.", discussion: "Example: keel rollout resume delay --reason \"the labels are here\"")
        @OptionGroup var rollout: PausedRollout

        func run() async throws { try await rollout.set("resume") }
    }
}

struct PausedRollout: ParsableArguments {
    @Argument(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @OptionGroup var steering: Steering
    @OptionGroup var connection: Connection

    func set(_ verb: String) async throws {
        let answer = try await connection.post("/api/v1/endpoints/\(escaped(endpoint))/rollout/\(verb)", try steering.body())
        connection.show(answer) {
            Terminal.print("the rollout of release \(endpoint)/\($0.cell("candidate")) is \(($0["paused"] ?? .null).isNull ? "under way" : "paused")")
        }
    }
}

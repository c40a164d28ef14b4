import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Registered models: list, make and change them; what happened to one, and its card.",
        discussion: "'keel describe model NAME' and 'keel describe model NAME/VERSION' show one whole.",
        subcommands: [
            ModelList.self, ModelHistoryCommand.self, ModelCardCommand.self, ModelCreate.self, ModelRegister.self, ModelAlias.self,
            ModelTagCommand.self,
            ModelSign.self, ModelDelete.self,
        ], defaultSubcommand: ModelList.self)
}

struct ModelList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List registered models, now or as they were at an instant.",
        discussion: """
            Examples:
              keel models list
              keel models list --at 2026-05-03     what alias champion was on that day, by the ledger
            """)
    @Option(help: "The instant, in UTC: 2026-05-03 or 2026-05-03T10:00:00Z.") var at: String?
    @OptionGroup var connection: Connection

    func run() async throws { Self.show(try await Self.all(at: at, connection), connection) }

    static func all(at instant: String? = nil, _ connection: Connection) async throws -> JSON {
        var (models, after): ([JSON], String?) = ([], nil)
        repeat {
            let query = ["limit=1000", instant.map { "at=\(escaped($0))" }, after.map { "page=\(escaped($0))" }].compactMap { $0 }
            let page = try await connection.get("/api/v1/models?\(query.joined(separator: "&"))")
            models += page["models"]?.items ?? []
            after = page["next"]?.string
        } while after != nil
        return ["models": .array(models)]
    }

    static func show(_ answer: JSON, _ connection: Connection) {
        connection.show(answer) { answer in
            Terminal.table(
                ["model", "latest", "aliases", "created", "changed"],
                (answer["models"]?.items ?? []).map { model in
                    let aliases = (model["aliases"]?.members ?? []).map { "\($0.key)=\($0.value.text)" }.joined(separator: " ")
                    return [model.cell("name"), model.cell("latest_version"), aliases.isEmpty ? "-" : aliases, model.cell("created_at"), model.cell("updated_at")]
                })
        }
    }
}

struct ModelHistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Every change of a model: when, who, what, from what to what; the newest first.",
        discussion: "Example: keel models history delay --version 3")
    @Argument(help: "The model.") var name: String
    @Option(help: "Only what concerns this version.") var version: Int?
    @Option(help: "How many changes at most.") var limit = 100
    @OptionGroup var connection: Connection

    func run() async throws {
        var (events, before): ([JSON], Int64?) = ([], nil)
        repeat {
            let query = [
                "limit=\(min(max(limit - events.count, 1), 1000))", version.map { "version=\($0)" }, before.map { "before=\($0)" },
            ].compactMap { $0 }
            let page = try await connection.get("/api/v1/models/\(escaped(name))/history?\(query.joined(separator: "&"))")
            events += page["events"]?.items ?? []
            before = page["next"]?.integer
        } while before != nil && events.count < limit
        connection.show(["events": .array(events)]) { _ in
            Terminal.table(
                ["when", "who", "what", "version", "from", "to"],
                events.map { event in
                    let data = event["data"] ?? .null
                    let what =
                        event.cell("kind").replacing("model.", with: "")
                        + (data["alias"] ?? data["key"]).map { " \($0.string ?? "")" }.orEmpty
                    // Of evidence: which bundle, and what was said of it.
                    let from = data["before"] ?? data["subject"].map { .string("bundle " + ($0.string ?? "").prefix(12)) }
                    let to = data["after"] ?? data["reason"] ?? data["verdict"]
                    return [event.cell("at"), event.cell("by"), what, data.cell("version"), short(from), short(to)]
                })
        }
    }

    private func short(_ value: JSON?) -> String {
        guard let value, !value.isNull else { return "-" }
        let line = (value.string ?? value.text).replacing("\n", with: " ")
        return line.count > 40 ? String(line.prefix(39)) + "…" : line
    }
}

struct ModelCardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "card", abstract: "The card of a model version, in Markdown with Hugging Face's metadata.",
        discussion: "Example: keel models card delay/3 --output README.md")
    @Argument(help: "NAME/VERSION.") var model: String
    @Option(help: "Write it to this file.") var output: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        let (name, version) = ModelView.parts(model)
        guard let version else { throw KeelError.invalid("'\(model)' is not NAME/VERSION", hint: "keel models card delay/3") }
        let answer = try await connection.client().send(.GET, "/api/v1/models/\(escaped(name))/versions/\(escaped(version))/card")
        guard answer.status == 200 else {
            _ = try KeelClient.decode(answer)
            return
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        guard let output else { return Terminal.print(lines: text) }
        do {
            try text.write(toFile: output, atomically: true, encoding: .utf8)
        } catch { throw KeelError(.unavailable, "cannot write '\(output)': \(error.localizedDescription)") }
    }
}

/// A model or a version for people.
enum ModelView {
    static func parts(_ text: String) -> (name: String, version: String?) {
        guard let slash = text.lastIndex(of: "/") else { return (text, nil) }
        return (String(text[..<slash]), String(text[text.index(after: slash)...]))
    }

    static func describe(_ text: String, _ connection: Connection) async throws {
        let (name, version) = parts(text)
        guard let version else {
            return try await describe(model: name, connection)
        }
        let answer = try await connection.get("/api/v1/models/\(escaped(name))/versions/\(escaped(version))")
        connection.show(answer) { answer in
            fields(["model", "version", "stage", "description", "source", "run", "logged_model", "by", "created_at"], of: answer)
            let file = answer["file"] ?? .null
            Terminal.print("flavours     \((file["flavors"]?.items ?? []).compactMap(\.string).joined(separator: ", "))")
            if let problem = file["problem"]?.string { Terminal.print("problem      \(problem)") }
            let columns = ["inputs", "outputs"].flatMap { side in
                (file[side]?.items ?? []).map { [side, $0.cell("name"), $0["type"]?.string ?? $0.cell("written"), $0.cell("required")] }
            }
            if !columns.isEmpty { Terminal.table(["", "column", "type", "required"], columns) }
        }
    }

    /// A model with its newest versions.
    private static func describe(model name: String, _ connection: Connection) async throws {
        var answer = try await connection.get("/api/v1/models/\(escaped(name))")
        let versions = try await connection.get("/api/v1/models/\(escaped(name))/versions")
        answer["versions"] = versions["versions"]
        connection.show(answer) { answer in
            fields(["name", "description", "created_at", "updated_at"], of: answer)
            for tag in answer["tags"]?.members ?? [] { Terminal.print("tag          \(tag.key)=\(tag.value.string ?? "")") }
            Terminal.table(
                ["version", "aliases", "stage", "created", "by", "source"],
                (answer["versions"]?.items ?? []).map { version in
                    let aliases = (version["aliases"]?.items ?? []).compactMap(\.string).joined(separator: " ")
                    return [
                        version.cell("version"), aliases.isEmpty ? "-" : aliases, version.cell("stage"), version.cell("created_at"), version.cell("by"),
                        version.cell("source"),
                    ]
                })
            if !(versions["next"]?.isNull ?? true) { Terminal.print("(there are older ones; --json has all of a page, the API the rest)") }
        }
    }

    private static func fields(_ keys: [String], of answer: JSON) {
        for key in keys { Terminal.print("\(key.padding(toLength: 12, withPad: " ", startingAt: 0)) \(answer.cell(key))") }
    }
}

extension String? {
    fileprivate var orEmpty: String { self ?? "" }
}

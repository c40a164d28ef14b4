import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

struct ModelCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a registered model without versions.",
        discussion: "Example: keel models create delay --description 'Will a flight be late?' --tag team=ops")
    @Argument(help: "Its name.") var name: String
    @Option(help: "What it is for.") var description: String?
    @Option(help: "A tag, as KEY=VALUE; may be given several times.") var tag: [String] = []
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["name": .string(name), "tags": try ModelPath.tags(tag)]
        if let description { body["description"] = .string(description) }
        connection.show(try await connection.post("/api/v1/models", body)) { Terminal.print("model \($0.cell("name"))") }
    }
}

struct ModelRegister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "register", abstract: "Register a version of a model; the model is made when there is none.",
        discussion: """
            Examples:
              keel models register delay runs:/4a1d14cf…/model --alias challenger
              keel models register delay models:/m-0a1b…              a logged model
              keel models register delay s3://bucket/model --run 4a1d14cf…
            """)
    @Argument(help: "The model.") var name: String
    @Argument(help: "Where it lies: runs:/RUN/PATH, models:/m-ID, models:/NAME/VERSION, or an address of a store.") var source: String
    @Option(help: "The run that made it.") var run: String?
    @Option(help: "What is new.") var description: String?
    @Option(help: "A tag, as KEY=VALUE; may be given several times.") var tag: [String] = []
    @Option(help: "An alias that then stands at this version.") var alias: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["source": .string(source), "tags": try ModelPath.tags(tag), "create_model": true]
        if let run = run ?? ModelPath.owner(of: source, after: "runs:/") { body["run"] = .string(run) }
        if let logged = ModelPath.owner(of: source, after: "models:/"), logged.hasPrefix("m-"), !source.dropFirst(8).contains("/") {
            body["logged_model"] = .string(logged)
        }
        if let description { body["description"] = .string(description) }
        // One client: an alias that is refused says so after the version is there.
        let client = try connection.client()
        let version = try await client.json(.POST, "\(ModelPath(name).path)/versions", body)
        if let alias {
            _ = try await client.json(.PUT, "\(ModelPath(name).path)/aliases/\(escaped(alias))", ["version": version["version"] ?? .null])
        }
        connection.show(version) { Terminal.print($0.cell("uri") + (alias.map { ", \($0)" } ?? "")) }
    }
}

struct ModelAlias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alias", abstract: "Let an alias stand at a version, or remove it.",
        discussion: """
            Examples:
              keel models alias delay/3 champion
              keel models alias delay/3 champion --from 2        only if it stands at version 2 now
              keel models alias delay champion --remove
            """)
    @Argument(help: "NAME/VERSION; NAME is enough with --remove.") var model: String
    @Argument(help: "The alias.") var alias: String
    @Option(help: "The version that it must stand at now, or none.") var from: String?
    @Flag(help: "Remove it.") var remove = false
    @OptionGroup var connection: Connection

    func validate() throws {
        if let from, from != "none", Int(from) == nil { throw ValidationError("--from is a version's number, or none") }
        if remove, from != nil { throw ValidationError("--remove removes it wherever it stands: leave out --from") }
        if !remove, ModelPath(model).version == nil { throw ValidationError("'\(model)' is not NAME/VERSION") }
    }

    func run() async throws {
        let target = ModelPath(model)
        let path = "\(target.path)/aliases/\(escaped(alias))"
        let client = try connection.client()
        if remove {
            connection.show(try await client.json(.DELETE, path)) { _ in Terminal.print("models:/\(target.name)@\(alias) is no more") }
            return
        }
        var body: JSON = ["version": target.version.map { .int(Int64($0)) } ?? .null]
        if let from { body["expecting"] = Int64(from).map(JSON.int) ?? .null }
        connection.show(try await client.json(.PUT, path, body)) { answer in
            let before = answer["before"]?.integer.map { ", before at version \($0)" } ?? ""
            Terminal.print("models:/\(target.name)@\(alias) is version \(target.version ?? 0)\(before)")
        }
    }
}

struct ModelTagCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "Set tags of a model or a version, or remove them.",
        discussion: """
            Examples:
              keel models tag delay team=ops
              keel models tag delay/3 validated=yes reviewer=mia
              keel models tag delay/3 validated --remove
            """)
    @Argument(help: "NAME or NAME/VERSION.") var model: String
    @Argument(help: "Tags, as KEY=VALUE; with --remove as KEY.") var tags: [String]
    @Flag(help: "Remove them.") var remove = false
    @OptionGroup var connection: Connection

    func run() async throws {
        let (path, client) = (ModelPath(model).path(withVersion: true), try connection.client())
        if remove {
            for key in tags { _ = try await client.json(.DELETE, "\(path)/tags/\(escaped(key))") }
        } else {
            for tag in try ModelPath.tags(tags).members ?? [] {
                _ = try await client.json(.PUT, "\(path)/tags/\(escaped(tag.key))", ["value": tag.value])
            }
        }
        connection.show([:]) { _ in
            Terminal.print("\(model): \(tags.count == 1 ? "1 tag" : "\(tags.count) tags") \(remove ? "removed" : "set")")
        }
    }
}

struct ModelDelete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Remove a version, or a model with all its versions; refused while something uses it.",
        discussion: "Example: keel models delete delay/3")
    @Argument(help: "NAME/VERSION or NAME.") var model: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.client().json(.DELETE, ModelPath(model).path(withVersion: true))
        connection.show(answer) { _ in Terminal.print("models:/\(model) is no more") }
    }
}

/// `NAME` or `NAME/VERSION`, as a path of the API.
struct ModelPath {
    let name: String
    let version: Int?

    init(_ text: String) {
        let plain = text.hasPrefix("models:/") ? String(text.dropFirst(8)) : text
        let parts = ModelView.parts(plain)
        version = parts.version.flatMap { Int($0) }
        name = version == nil ? plain : parts.name
    }

    var path: String { "/api/v1/models/\(escaped(name))" }

    func path(withVersion: Bool) -> String { version.map { withVersion ? "\(path)/versions/\($0)" : path } ?? path }

    /// The first part of what follows `scheme` in a source: the run or the model that it is part of.
    static func owner(of source: String, after scheme: String) -> String? {
        source.hasPrefix(scheme) ? source.dropFirst(scheme.count).split(separator: "/").first.map(String.init) : nil
    }

    /// `KEY=VALUE` texts as an object.
    static func tags(_ texts: [String]) throws -> JSON {
        .object(
            try texts.map { text in
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty else { throw KeelError.invalid("'\(text)' is not KEY=VALUE") }
                return JSON.Member(String(parts[0]), .string(String(parts[1])))
            })
    }
}

import ArgumentParser
import Contracts

struct GarbageCollection: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc",
        abstract: "Remove for good what was deleted: runs, experiments, logged models, and content that nothing refers to any more.",
        discussion: """
            What a model version or a release needs stays, and is listed with who needs it.
            Examples:
              keel gc --older-than 30d --dry-run    show what would go, and how many bytes that frees
              keel gc --older-than 30d
              keel gc --run-ids 0a1b…,2c3d…
            """)
    @Option(help: "Only what was deleted longer ago than this, such as 12h or 30d.") var olderThan: String?
    @Option(help: "Only these deleted runs, with ',' between them.") var runIds: String?
    @Option(help: "Only these deleted experiments, with ',' between them.") var experimentIds: String?
    @Option(help: "Only these deleted logged models, with ',' between them.") var loggedModelIds: String?
    @Flag(help: "Change nothing; show what would go.") var dryRun = false
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["dry_run": .bool(dryRun)]
        if let olderThan { body["older_than"] = .string(olderThan) }
        for (field, text) in [("run_ids", runIds), ("experiment_ids", experimentIds), ("logged_model_ids", loggedModelIds)] {
            if let text { body[field] = .array(text.split(separator: ",").map { .string(String($0)) }) }
        }
        connection.show(try await connection.post("/api/v1/gc", body)) { answer in
            Terminal.table(
                ["kind", "id", "name", "deleted", "files", "bytes", "outcome"],
                (answer["items"]?.items ?? []).map { item in
                    let outcome = item["kept_for"]?.string.map { "kept for \($0)" } ?? (dryRun ? "would go" : "gone")
                    let elsewhere = item["artifacts_elsewhere"]?.string.map { "; artifacts stay at \($0)" } ?? ""
                    return ["kind", "id", "name", "deleted_at", "files", "bytes"].map(item.cell) + [outcome + elsewhere]
                })
            let (objects, bytes) = (answer["objects"]?.integer ?? 0, answer["bytes"]?.integer ?? 0)
            Terminal.print("\(dryRun ? "would free" : "freed") \(Terminal.count(bytes)) bytes in \(objects) objects that nothing refers to")
            let folders = answer["model_folders"]?.integer ?? 0
            if folders > 0 {
                Terminal.print("\(dryRun ? "would remove" : "removed") \(folders) folders of models with code, and environments, that no release has")
            }
        }
    }
}

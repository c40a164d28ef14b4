import ArgumentParser
import Contracts
import Foundation

struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a small project: contract, features, training, endpoint and monitor for a table.",
        discussion: """
            The contract is suggested from a CSV file; without one a table of customers is made up, so that everything can be tried. Read what is written
            before you trust it. The next commands are printed.
            Examples:
              keel init churn
              keel init fraud --from payments.csv --label fraud --entity card --time paid_at
            """)
    @Argument(help: "The name of the project, its folder, its dataset, its model and its endpoint: lower-case letters, digits and '_'.") var name: String
    @Option(help: "A CSV file with a header.") var from: String?
    @Option(help: "The column that is predicted, of 0 and 1; the only one of that kind unless given.") var label: String?
    @Option(help: "The column that says whom a row is about; the only one that comes back unless given.") var entity: String?
    @Option(help: "The column of instants; the only one unless given.") var time: String?

    func run() async throws {
        guard name.wholeMatch(of: /[a-z][a-z0-9_]{1,40}/) != nil else {
            throw KeelError.invalid("'\(name)' is not a name of lower-case letters, digits and '_' that begins with a letter")
        }
        guard !FileManager.default.fileExists(atPath: name) else {
            throw KeelError(.alreadyExists, "there is a '\(name)' already", hint: "choose another name, or remove it")
        }
        let text: String
        if let from {
            guard let data = FileManager.default.contents(atPath: from), let read = String(data: data, encoding: .utf8) else {
                throw KeelError.notFound("'\(from)' cannot be read as UTF-8 text")
            }
            text = read
        } else {
            text = SampleTable.csv
        }
        let table = try TableGuess(csv: text, choice: TableGuess.Choice(label: label, entity: entity, time: time))
        let source = from ?? "\(name)/\(name).csv"
        let project = ProjectFiles(name: name, table: table, source: source)
        let rows = CSVRows.read(text, rowsMax: 1)
        let question = project.question(Dictionary(uniqueKeysWithValues: zip(rows[0], rows[1])))
        var files = [
            ("dataset.yaml", project.dataset), ("features.yaml", project.features), ("training.yaml", project.training), ("serving.yaml", project.serving),
            ("README.md", project.readme(question)),
        ]
        if from == nil { files.append(("\(name).csv", text)) }
        do {
            try FileManager.default.createDirectory(atPath: name, withIntermediateDirectories: true)
            for (file, text) in files { try text.write(toFile: "\(name)/\(file)", atomically: true, encoding: .utf8) }
        } catch { throw KeelError(.unavailable, "cannot write to '\(name)': \(error.localizedDescription)") }
        Terminal.table(
            ["column", "type", "role"],
            table.columns.map { [$0.name, $0.type, role(of: $0.name, table)] })
        Terminal.print("")
        for (file, _) in files { Terminal.print("\(name)/\(file)") }
        Terminal.print("")
        Terminal.print("Next, with a server ('keel serve'):")
        Terminal.print("  keel apply \(name)")
        Terminal.print("  keel ingest \(name) \(source)")
        Terminal.print("  keel run train-\(project.dashed) --now \(project.after)")
        Terminal.print("  keel predict \(name) '\(question.text)'")
    }

    private func role(of column: String, _ table: TableGuess) -> String {
        switch column {
        case table.label.name: "what is predicted"
        case table.entity.name: "whom a row is about"
        case table.time.name: "when it happened"
        case table.key?.name: "tells rows apart"
        default: table.numbers.contains { $0.name == column } ? "feature" : "kept"
        }
    }
}

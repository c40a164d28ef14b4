import ArgumentParser
import Contracts
import Workflows

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print a kind of resource as JSON Schema (draft 2020-12), for editors.",
        discussion: "Example: keel schema dataset > dataset.schema.json")
    @Argument(help: "The kind: dataset, featureview, endpoint …; without it the kinds are listed.") var kind: String?

    func run() throws {
        guard let kind else {
            return Terminal.table(["kind", "about"], Reference.kinds.map { [$0.name, $0.about] }, wrapsLast: true)
        }
        let schema = Reference.kinds.first { [$0.name.lowercased(), $0.name.lowercased() + "s"].contains(kind.lowercased()) }
        guard let schema else {
            let names = Reference.kinds.map(\.name)
            throw KeelError.notFound(
                "there is no kind '\(kind)'",
                hint: nearest(kind, in: names).map { "did you mean '\($0)'?" } ?? "kinds: \(names.joined(separator: ", "))")
        }
        Terminal.print(json: schema.jsonSchema)
    }
}

import ArgumentParser
import Contracts
import KeelClient

struct Approve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take responsibility for a model version that somebody else registered.",
        discussion: "Example: keel approve models:/delay/3 --reason 'reviewed with operations on 12 March'")
    @Argument(help: "The version, as models:/NAME/VERSION.") var model: String
    @Option(help: "Why it may serve; the model card shows it.") var reason: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let path = ModelPath(model)
        guard path.version != nil else {
            throw KeelError.invalid("'\(model)' names no version", hint: "keel approve models:/delay/3 --reason TEXT")
        }
        let answer = try await connection.post("\(path.path(withVersion: true))/approvals", ["reason": .string(reason)])
        connection.show(answer) { Terminal.print("models:/\($0.cell("model"))/\($0.cell("version")) approved by \($0.cell("by"))") }
    }
}

import ArgumentParser
import Contracts
import KeelClient

struct Deploy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a registered model: the endpoint is declared when there is none, the model is tried and released.",
        discussion: """
            Before it takes traffic the model answers its own input example; when the answer is not the one that was logged, nothing is deployed.
            A second deployment to an endpoint goes through its rollout.
            Examples:
              keel deploy models:/churn@champion --endpoint churn
              keel deploy models:/churn/7 --endpoint churn@staging --features customer
              keel deploy models:/churn/7 --endpoint churn --runner python
              keel deploy models:/churn/8 --endpoint churn --signature any
            """)
    @Argument(help: "The model, as models:/NAME/VERSION or models:/NAME@ALIAS.") var model: String
    @Option(help: "The endpoint, as NAME or NAME@ENVIRONMENT.") var endpoint: String
    @Option(help: "The feature service that a new endpoint reads; without one requests carry the model's inputs.") var features: String?
    @Option(help: "Who runs the model: auto (Keel where it can), or python (the model's own code).") var runner: String?
    @Option(help: "Whether callers may notice that it answers (any), such as by an input more; else that is as the endpoint says.") var signature: String?
    @Option(help: "Why, for the ledger.") var reason: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["model": .string(model)]
        if let features { body["features"] = .string(features) }
        if let runner { body["runner"] = .string(runner) }
        if let signature { body["signature"] = .string(signature) }
        if let reason { body["reason"] = .string(reason) }
        let answer = try await connection.post(
            "/api/v1/endpoints/\(escaped(endpoint))/deploy", body, "deploy \(model)", waitingFor: "the model is loaded and tried")
        connection.show(answer) { Deploy.show($0) }
    }

    static func show(_ answer: JSON) {
        let release = "\(answer.cell("endpoint"))/\(answer.cell("release"))"
        Terminal.print("release \(release) of \(answer.cell("uri")), run by \(answer.cell("runner")), gate \(answer.cell("gate"))")
        let signers = (answer["signed_by"]?.items ?? []).compactMap(\.string)
        if !signers.isEmpty { Terminal.print("its files are signed by \(signers.joined(separator: ", "))") }
        Terminal.print(Deploy.tried(answer["example"] ?? .null))
        for warning in answer["warnings"]?.items ?? [] { Terminal.print("warning: \(warning.string ?? "")") }
        Terminal.print(Deploy.place(answer))
    }

    private static func place(_ answer: JSON) -> String {
        let other = answer["candidate"]?.integer.map { "\(answer.cell("endpoint"))/\($0)" }
        switch answer["state"]?.string {
        case "stable": return other.map { "it answers what the rollout of release \($0) leaves it: keel get endpoints" } ?? "it answers all requests"
        case "rollout": return "its rollout is under way: keel get endpoints"
        default: return "it answers nothing now" + (other.map { ": the rollout of release \($0) is under way" } ?? "") + ": keel get endpoints"
        }
    }

    private static func tried(_ example: JSON) -> String {
        guard let rows = example["rows"]?.integer else { return "it has no input example that its answers could be compared with" }
        let what = example["compared"]?.bool == true ? "answered as it was logged to do" : "answered; no answer was logged to compare with"
        return "its input example of \(rows) row\(rows == 1 ? "" : "s") was \(what)"
    }
}

import Contracts
import Serving

/// OpenAI's HTTP API as a client speaks it.
enum OpenAI {
    static let text = "text"
    static let finishReason = "finish_reason"
    static let promptTokens = "prompt_tokens"
    static let completionTokens = "completion_tokens"

    /// What a server says of an error: `{"error": {"message": …}}`, or a text.
    @Sendable static func words(_ json: JSON) -> String? {
        json["error"]?["message"]?.string ?? json["error"]?.string ?? json["message"]?.string ?? json["detail"]?.string
    }

    /// Asks whether the server has the model or adapter. It blocks.
    static func describe(_ model: RemoteModel, _ server: RemoteServer, until deadline: ContinuousClock.Instant) throws(KeelError) -> RemoteDescription {
        let answer = try server.answer("GET", "/models", headers: [("Accept", "application/json")], bytesMax: RemoteServer.metadataBytesMax, until: deadline)
        switch answer.status {
        case 200:
            guard let models = (try? JSON.parse(answer.body))?["data"]?.array else { throw server.broken("lists its models in a form that is not OpenAI's") }
            let names = models.compactMap { $0["id"]?.string }
            guard names.contains(model.name) else {
                throw KeelError.notFound(
                    "there is no model \(server.name)",
                    hint: nearest(model.name, in: names).map { "did you mean '\($0)'?" } ?? "it has \(names.prefix(10).joined(separator: ", "))")
            }
        // Not every server lists its models; the example tells then.
        case 404, 405, 501: break
        default: throw server.failure(answer, words)
        }
        let column = model.prompt.rawValue
        let sample = model.prompt == .prompt ? "Say yes." : #"[{"role":"user","content":"Say yes."}]"#
        var texts = TextBuffer()
        texts.append(sample)
        return RemoteDescription(
            model: model,
            signature: Signature(
                inputs: [Signature.Input(column, .string, nullable: false)],
                outputs: [
                    Signature.Output(text, .string), Signature.Output(finishReason, .string), Signature.Output(promptTokens, .int64),
                    Signature.Output(completionTokens, .int64),
                ], params: model.parameters),
            facts: .object([]), isRepeatable: false, example: try Table([(column, Column(.string, .text(texts)))]))
    }
}

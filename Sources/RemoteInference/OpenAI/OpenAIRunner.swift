import Contracts
import Dispatch
import Serving
import Synchronization

/// A model, or an adapter of one, that an OpenAI-compatible server runs: one call a row.
struct OpenAIRunner: ModelRunner {
    /// The answer to one row.
    struct Completion: Sendable {
        let text: String
        let finishReason: String?
        let promptTokens: Int64?
        let completionTokens: Int64?
    }

    private let server: RemoteServer
    private let model: RemoteModel
    /// How many calls may be under way, whichever request they are of.
    private let places: DispatchSemaphore
    let lane: ModelLane
    /// Each request waits for its own rows only.
    var joinsRequests: Bool { false }

    init(_ description: RemoteDescription, _ server: RemoteServer) {
        self.server = server
        model = description.model
        places = DispatchSemaphore(value: model.concurrency)
        lane = .pooled(threads: model.concurrency)
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        guard table.columns.count == 1, case .text(let prompts) = table.columns[0].buffer else { throw .invalid("the model takes one column of texts") }
        let deadline = RemoteServer.limit(deadline)
        var bodies: [[UInt8]] = []
        for i in 0..<prompts.count { bodies.append(try body(prompts[i], params, row: i, of: prompts.count)) }
        let answers = Mutex<[Int: Result<Completion, KeelError>]>([:])
        let arrivals = DispatchSemaphore(value: 0)
        var sent = 0
        for (i, body) in bodies.enumerated() {
            // After a row that failed no other is asked for.
            if answers.withLock({ $0.values.contains { if case .failure = $0 { true } else { false } } }) { break }
            guard OpenAIRunner.wait(places, until: deadline) else { break }
            sent += 1
            let path = model.task == .chat ? "/chat/completions" : "/completions"
            server.send(
                "POST", path, headers: [("Content-Type", "application/json")], body: body, bytesMax: RemoteServer.answerBytesMin, until: deadline
            ) { [server, task = model.task, places] result in
                let completion = result.flatMap { answer in
                    Result { () throws(KeelError) in
                        guard answer.status == 200 else { throw server.failure(answer, OpenAI.words) }
                        try server.takeMemory(for: answer, jsonBytes: answer.body.count)
                        defer { withExtendedLifetime(answer) {} }
                        return try OpenAIRunner.read(answer.body, task, server)
                    }
                }
                answers.withLock { $0[i] = completion }
                places.signal()
                arrivals.signal()
            }
        }
        for _ in 0..<sent where !OpenAIRunner.wait(arrivals, until: deadline + .milliseconds(200)) { break }
        return try OpenAIRunner.table(answers.withLock { $0 }, rows: prompts.count, server)
    }

    private static func wait(_ semaphore: DispatchSemaphore, until deadline: ContinuousClock.Instant) -> Bool {
        let left = max(.zero, deadline - .now)
        return semaphore.wait(timeout: .now() + .nanoseconds(Int(saturating: left / .nanoseconds(1)))) == .success
    }

    private static func table(_ answers: [Int: Result<Completion, KeelError>], rows: Int, _ server: RemoteServer) throws(KeelError) -> Table {
        var all: [Completion] = []
        // The first row that failed tells why.
        for i in answers.keys.sorted() {
            if case .failure(let error)? = answers[i] { throw rows == 1 || error.path != nil ? error : error.at("[\(i)]") }
        }
        for i in 0..<rows {
            guard let answer = answers[i] else { throw KeelError(.deadlineExceeded, "\(server.name) gave no whole answer in time") }
            all.append(try answer.get())
        }
        return try Table([
            (OpenAI.text, try Column(.string, values: all.map { .string($0.text) })),
            (OpenAI.finishReason, try Column(.string, values: all.map { $0.finishReason.map(Value.string) ?? .null })),
            (OpenAI.promptTokens, try Column(.int64, values: all.map { $0.promptTokens.map(Value.int) ?? .null })),
            (OpenAI.completionTokens, try Column(.int64, values: all.map { $0.completionTokens.map(Value.int) ?? .null })),
        ])
    }

    // MARK: Wire

    private func body(_ prompt: String, _ params: JSON, row: Int, of rows: Int) throws(KeelError) -> [UInt8] {
        var body: JSON = ["model": .string(model.name), "stream": false]
        switch (model.task, model.prompt) {
        case (.completion, _): body["prompt"] = .string(prompt)
        case (.chat, .prompt): body["messages"] = [["role": "user", "content": .string(prompt)]]
        case (.chat, .messages):
            let place = rows == 1 ? "messages" : "messages[\(row)]"
            guard let messages = try? JSON.parse(prompt), let items = messages.array, !items.isEmpty else {
                throw .invalid("must be a list of messages in JSON", hint: #"[{"role": "user", "content": "…"}]"#, path: place)
            }
            guard items.allSatisfy({ $0["role"]?.string != nil }) else { throw .invalid("has a message without a role", path: place) }
            body["messages"] = messages
        }
        for param in params.members ?? [] where !param.value.isNull { body[param.key] = param.value }
        return body.bytes
    }

    static func read(_ bytes: [UInt8], _ task: RemoteModel.Task, _ server: RemoteServer) throws(KeelError) -> Completion {
        guard let json = try? JSON.parse(bytes), let choice = json["choices"]?[0] else {
            throw server.broken("answered with something that is no completion of OpenAI's API")
        }
        guard let text = task == .chat ? choice["message"]?["content"]?.string : choice["text"]?.string else {
            throw server.broken("answered without a text")
        }
        return Completion(
            text: text, finishReason: choice["finish_reason"]?.string, promptTokens: json["usage"]?["prompt_tokens"]?.integer,
            completionTokens: json["usage"]?["completion_tokens"]?.integer)
    }
}

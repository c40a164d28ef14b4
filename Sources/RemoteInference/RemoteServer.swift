import Contracts
import Dispatch
import Outgoing
import Serving
import Synchronization

/// One model on another server: asks it, and says in Keel's words what went wrong. Messages name the server and the model, and never hold a secret.
struct RemoteServer: Sendable {
    let model: RemoteModel
    let workspace: WorkspaceID
    let session: OutgoingSession
    let secrets: RemoteSecrets
    /// What answers are counted in, as they come and while they are read.
    let memory: MemoryBudget
    /// Of an answer with predictions, however much is asked for.
    static let answerBytesMax = 64 << 20
    /// Of an answer besides its values, and of a text.
    static let answerBytesMin = 1 << 20
    /// Of an answer that describes something.
    static let metadataBytesMax = 4 << 20
    /// How long after the deadline the session may take to say so.
    private static let grace = Duration.milliseconds(200)
    /// How long before the deadline of a request the server is given up, so that the error can still say which one it was.
    private static let margin = Duration.milliseconds(30)

    /// Until when the server may take, of the time that a request has.
    static func limit(_ deadline: ContinuousClock.Instant) -> ContinuousClock.Instant { deadline - margin }

    /// `'resnet50' on 'triton.internal:8000'`.
    var name: String { "'\(model.name)' on '\(session.name)'" }

    /// - Throws: `failedPrecondition` when the secret that the model names cannot be used.
    func checkSecret() throws(KeelError) { _ = try secret() }

    private func secret() throws(KeelError) -> RemoteSecrets.Secret? {
        guard let name = model.secret else { return nil }
        return try secrets.secret(name, for: session.origin, path: session.path, in: workspace)
    }

    /// Sends a request without waiting for its answer.
    /// - Parameter done: called once, on any thread, with an answer of any status.
    func send(
        _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [], bytesMax: Int,
        until deadline: ContinuousClock.Instant, done: @escaping @Sendable (Result<OutgoingHTTP.Answer, KeelError>) -> Void
    ) {
        var all = headers
        do throws(KeelError) {
            if let secret = try secret() { all.append((secret.header, secret.value)) }
        } catch {
            return done(.failure(KeelError(.badGateway, "\(name) cannot be asked: \(error.message)", hint: error.hint)))
        }
        let request = OutgoingSession.Request(method, path, headers: all, body: body, answerBytesMax: bytesMax, memory: MemoryReservation(of: memory))
        session.send(request, until: deadline) { result in
            done(result.mapError { error in
                // An address that may not be called any more is no mistake of who asks for a prediction.
                error.code == .invalidArgument ? KeelError(.badGateway, "\(name) cannot be asked: \(error.message)", hint: error.hint) : error
            })
        }
    }

    /// What an answer becomes for each byte of its JSON when that is read: a number of one digit and its comma become a value of 24 bytes.
    private static let bytesPerJSONByte = 16

    /// Takes memory for reading an answer; it is held as long as the answer is.
    /// - Parameter jsonBytes: of the whole answer; the rest are numbers, which stay as long as they are.
    func takeMemory(for answer: OutgoingHTTP.Answer, jsonBytes: Int) throws(KeelError) {
        let json = min(max(0, jsonBytes), answer.body.count)
        do throws(KeelError) {
            try answer.memory?.take(json * RemoteServer.bytesPerJSONByte + (answer.body.count - json) * 2, for: .requests)
        } catch { throw OutgoingSession.tooMuch(error, from: session.name) }
    }

    /// Sends a request and waits for its answer, of any status. It blocks.
    func answer(
        _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [], bytesMax: Int,
        until deadline: ContinuousClock.Instant
    ) throws(KeelError) -> OutgoingHTTP.Answer {
        let waiting = Waiting<OutgoingHTTP.Answer>()
        send(method, path, headers: headers, body: body, bytesMax: bytesMax, until: deadline) { waiting.give($0) }
        guard let result = waiting.take(until: deadline + RemoteServer.grace) else {
            throw KeelError(.deadlineExceeded, "the server '\(session.name)' gave no whole answer in time")
        }
        return try result.get()
    }

    /// What a status other than 200 means.
    /// - Parameter words: what the server says of it, from the body of its answer.
    func failure(_ answer: OutgoingHTTP.Answer, _ words: (JSON) -> String?) -> KeelError {
        let status = answer.status
        func error(_ code: KeelError.Code, _ what: String, hint: String? = nil) -> KeelError { KeelError(code, "\(name) \(what)", hint: hint) }
        switch status {
        case 300..<400: return error(.badGateway, "answered with a redirect (\(status)), and none is followed", hint: "declare the address that it leads to")
        case 401, 403:
            // What a server says of a key may quote it.
            return error(
                .badGateway, "refuses \(model.secret.map { "the secret '\($0)'" } ?? "to answer without a secret") (\(status))",
                hint: "spec.remote.secret names a file below serving.remote.secrets")
        default: break
        }
        let said = (try? JSON.parse(answer.body)).flatMap(words).map(shown)
        let text = "answered with \(status)" + (said.map { ": \($0)" } ?? "")
        switch status {
        case 400, 422: return error(.invalidArgument, text)
        case 408, 504: return error(.deadlineExceeded, text)
        case 413: return error(.payloadTooLarge, text)
        case 429, 503: return error(.unavailable, text)
        default: return error(.badGateway, text)
        }
    }

    /// A text of the server's as it may be shown: one line, not long, without the key.
    private func shown(_ text: String) -> String {
        var text = text
        if let token = (try? secret())??.token { text = text.replacing(token, with: "***") }
        return String(text.visible().prefix(300))
    }

    /// An answer that is not what the protocol says.
    func broken(_ what: String) -> KeelError { KeelError(.badGateway, "\(name) \(what)") }
}

/// A result that another thread gives.
final class Waiting<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, KeelError>?>(nil)
    private let isThere = DispatchSemaphore(value: 0)

    func give(_ result: Result<Value, KeelError>) {
        self.result.withLock { $0 = result }
        isThere.signal()
    }

    /// - Returns: nil when none came in time.
    func take(until deadline: ContinuousClock.Instant) -> Result<Value, KeelError>? {
        let left = max(.zero, deadline - .now)
        guard isThere.wait(timeout: .now() + .nanoseconds(Int(saturating: left / .nanoseconds(1)))) == .success else { return nil }
        return result.withLock { $0 }
    }
}

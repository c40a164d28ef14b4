import Foundation

/// An error in the user's words: what is wrong, where, and what to do about it.
///
/// Domain code throws only this. It knows no transport; each API maps `code` to its own protocol once.
public struct KeelError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A stable reason that programs may match on.
    public enum Code: String, Sendable, CaseIterable {
        case invalidArgument = "invalid_argument"
        case notFound = "not_found"
        case alreadyExists = "already_exists"
        case permissionDenied = "permission_denied"
        case unauthenticated
        /// A client failed too often; trying later may succeed.
        case tooManyRequests = "too_many_requests"
        /// The state of the thing does not allow this now (deleted, immutable, wrong revision).
        case failedPrecondition = "failed_precondition"
        /// A contract (schema, signature, expectation) is broken by data.
        case contractViolation = "contract_violation"
        /// A limit (queue, body, deadline) is reached; trying later may succeed.
        case unavailable
        case deadlineExceeded = "deadline_exceeded"
        /// Another server that the answer depends on gave an error, or something that cannot be used.
        case badGateway = "bad_gateway"
        case payloadTooLarge = "payload_too_large"
        case unsupportedMediaType = "unsupported_media_type"
        /// A native engine is not installed or not loadable; the hint names the install step.
        case engineMissing = "engine_missing"
        /// A protocol has it; Keel does not.
        case notImplemented = "not_implemented"
        /// Stored bytes are not what they were (truncated model, altered ledger).
        case corrupted
        case cancelled
        /// An operating error of Keel or its machine: disk full, a bug. The message is safe to show.
        case `internal`
    }

    /// One reference: a typed error of one word travels in a register, where one of seven words is returned through memory at every step.
    private final class Storage: Sendable {
        let code: Code
        let message: String
        let hint: String?
        let path: String?
        let also: [KeelError]

        init(_ code: Code, _ message: String, _ hint: String?, _ path: String?, _ also: [KeelError]) {
            self.code = code
            self.message = message
            self.hint = hint
            self.path = path
            self.also = also
        }
    }
    private let storage: Storage

    public var code: Code { storage.code }
    /// What is wrong, in the user's words. Never holds a secret.
    public var message: String { storage.message }
    /// What to do about it.
    public var hint: String? { storage.hint }
    /// Where: a field (`spec.features[2].window`), a file and line, a row.
    public var path: String? { storage.path }

    /// What else is wrong with the same input, when all of it was looked at.
    public var also: [KeelError] { storage.also }
    /// This error and `also`.
    public var all: [KeelError] { [self] + also }

    /// - Parameter also: errors without further ones of their own.
    public init(_ code: Code, _ message: String, hint: String? = nil, path: String? = nil, also: [KeelError] = []) {
        storage = Storage(code, message, hint, path, also)
    }

    /// Several errors as one: the first, with the others beside it; nil when there is none.
    public static func joined(_ errors: [KeelError]) -> KeelError? {
        let all = errors.flatMap { error in [error.alone] + error.also }
        return all.first.map { KeelError($0.code, $0.message, hint: $0.hint, path: $0.path, also: Array(all.dropFirst())) }
    }

    private var alone: KeelError { also.isEmpty ? self : KeelError(code, message, hint: hint, path: path) }

    public static func == (a: KeelError, b: KeelError) -> Bool {
        a.code == b.code && a.message == b.message && a.hint == b.hint && a.path == b.path && a.also == b.also
    }

    /// The same error, placed: `prefix` goes before the path that is there.
    public func at(_ prefix: String) -> KeelError {
        let joined: String
        switch path {
        case .none: joined = prefix
        case .some(let inner) where inner.hasPrefix("["): joined = prefix + inner
        case .some(let inner): joined = prefix.isEmpty ? inner : prefix + "." + inner
        }
        return KeelError(code, message, hint: hint, path: joined, also: also.map { $0.at(prefix) })
    }

    public var description: String {
        var text = path.map { "\($0): \(message)" } ?? message
        if let hint { text += " (\(hint))" }
        return text
    }

    public static func invalid(_ message: String, hint: String? = nil, path: String? = nil) -> KeelError {
        KeelError(.invalidArgument, message, hint: hint, path: path)
    }

    public static func notFound(_ message: String, hint: String? = nil) -> KeelError {
        KeelError(.notFound, message, hint: hint)
    }

    /// Any error as a `KeelError`; one that is none becomes `internal` with its description.
    public static func wrapping(_ error: any Error) -> KeelError {
        if let error = error as? KeelError { return error }
        if error is CancellationError { return KeelError(.cancelled, "the operation was cancelled") }
        if let error = error as? CocoaError { return KeelError(.internal, words(error)) }
        return KeelError(.internal, "\(error)")
    }

    /// Any error as a client may see it: the text of a foreign library, which may name files and values that are none of the client's business, stays
    /// in the log.
    public static func shown(_ error: any Error) -> KeelError {
        let wrapped = wrapping(error)
        let isKnown = error is KeelError || error is CancellationError || error is CocoaError
        return isKnown ? wrapped : KeelError(.internal, "the server met an error that it did not expect", hint: "its log says which")
    }
}

/// Foundation describes its errors in terms of its own; people want the file and the reason.
private func words(_ error: CocoaError) -> String {
    let reason = error.underlying as? POSIXError
    let path = error.userInfo[NSFilePathErrorKey] as? String
    let file = path.map { "could not use the file '\($0)'" } ?? "could not use a file"
    return "\(file): \(reason.map { String(cString: strerror($0.code.rawValue)) } ?? "error \(error.code.rawValue)")"
}

/// The nearest of `candidates` to a misspelt `word`, or nil when none is near.
public func nearest(_ word: String, in candidates: some Sequence<String>) -> String? {
    var best: (distance: Int, word: String)?
    for candidate in candidates {
        let distance = editDistance(Array(word.utf8.prefix(64)), Array(candidate.utf8.prefix(64)))
        if distance <= max(2, candidate.utf8.count / 3), distance < (best?.distance ?? .max) {
            best = (distance, candidate)
        }
    }
    return best?.word
}

private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for i in 0..<a.count {
        var diagonal = row[0]
        row[0] = i + 1
        for j in 0..<b.count {
            let above = row[j + 1]
            row[j + 1] = a[i] == b[j] ? diagonal : 1 + min(diagonal, above, row[j])
            diagonal = above
        }
    }
    return row[b.count]
}

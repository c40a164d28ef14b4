import Contracts
import Foundation
import Hummingbird
import NIOCore

/// What a route knows of its request: who asks, and how to obtain the grant for what it does.
public struct KeelContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// Set by `AuthenticationMiddleware` before any route runs.
    public var access: RequestAccess?

    public init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
    }

    /// The endpoint or another thing that the path names, as `delay` or `delay@staging`, in the workspace of the request.
    /// - Throws: `invalidArgument` for what cannot be such a name.
    public func thing(_ kind: String, by parameter: String = "name") throws -> ResourceRef {
        guard let access else { throw KeelError(.unauthenticated, "this request has no caller") }
        let text = try parameters.require(parameter)
        return try ResourceRef(kind, qualifiedName: text.removingPercentEncoding ?? text, in: access.caller.workspace, path: parameter)
    }

    /// The grant for `action` on `subject`, or the error that the caller is to see; a denial is recorded in the ledger.
    /// - Parameter isWhole: whether a caller is refused that may do the action to some things only.
    public func authorize(_ action: Action, on subject: String = "*", isWhole: Bool = false) async throws -> Grant {
        guard let access else { throw KeelError(.unauthenticated, "this request has no caller") }
        do {
            let grant = try Grant.check(access.caller, may: action, on: subject)
            if isWhole { try grant.requireWhole() }
            return grant
        } catch {
            try await access.recordDenial(access.caller, action, subject)
            throw error
        }
    }
}

/// The caller of one request and where denials go.
public struct RequestAccess: Sendable {
    public let caller: Caller
    let recordDenial: @Sendable (Caller, Action, String) async throws -> Void

    public init(caller: Caller, recordDenial: @escaping @Sendable (Caller, Action, String) async throws -> Void) {
        self.caller = caller
        self.recordDenial = recordDenial
    }
}

extension KeelError.Code {
    /// The one table of HTTP statuses; APIs differ in their bodies, not in these.
    public var status: HTTPResponse.Status {
        switch self {
        case .invalidArgument, .alreadyExists: .badRequest
        case .contractViolation: .unprocessableContent
        case .failedPrecondition: .conflict
        case .notFound: .notFound
        case .permissionDenied: .forbidden
        case .unauthenticated: .unauthorized
        case .tooManyRequests: .tooManyRequests
        case .unavailable: .serviceUnavailable
        case .deadlineExceeded: .gatewayTimeout
        case .badGateway: .badGateway
        case .payloadTooLarge: .contentTooLarge
        case .unsupportedMediaType: .unsupportedMediaType
        case .engineMissing, .notImplemented: .notImplemented
        case .cancelled: .init(code: 499, reasonPhrase: "Client Closed Request")
        case .corrupted, .internal: .internalServerError
        }
    }
}

import Contracts
import HTTPTypes
import NIOCore
import NIOHPACK
import WebAPI

/// The head of a call.
struct RPCHead {
    let method: RPCMethod
    /// What the head says of its sender, as it holds for the next call with the same fields.
    private let claim: RequestClaim
    let caller: Caller
    let encoding: MessageEncoding
    /// As it came.
    let traceparent: String?
    /// When the client waits no longer.
    let deadline: NIODeadline?

    /// Why a call is not begun.
    enum Refusal: Error {
        /// It is no call of gRPC.
        case http(status: String, message: String)
        case grpc(KeelError)
    }

    init(_ headers: HPACKHeaders, gate: RequestGate, connection: HTTPConnection) throws(Refusal) {
        var path = ""
        var verb = ""
        var timeout: String?
        var traceparent: String?
        var encoding = MessageEncoding.identity.rawValue
        var request = HTTPRequest(method: .post, scheme: connection.scheme, authority: nil, path: nil)
        for (name, value, _) in headers {
            switch name {
            case ":path": path = value
            case ":method": verb = value
            case ":authority": request.authority = value
            case "grpc-timeout": timeout = value
            case "grpc-encoding": encoding = value
            case "traceparent": traceparent = value
            // They say nothing of who calls.
            case ":scheme", "te", "user-agent", "grpc-accept-encoding", "accept-encoding": break
            default: if let name = HTTPField.Name(name) { request.headerFields.append(HTTPField(name: name, value: value)) }
            }
        }
        request.path = path
        self.traceparent = traceparent
        // Clients of gRPC send `:authority`; a proxy may send `Host` instead (RFC 9113, 8.3.1).
        if request.authority == nil, let host = HTTPField.Name("Host") {
            request.authority = request.headerFields[host]
            request.headerFields[host] = nil
        }
        guard RPCHead.isGRPC(request.headerFields[.contentType] ?? "") else {
            throw .http(status: "415", message: "over HTTP/2 gRPC is served alone: use HTTP/1.1 for everything else\n")
        }
        guard verb == "POST" else { throw .http(status: "405", message: "calls of gRPC are POST\n") }
        do throws(KeelError) {
            claim = try gate.claim(of: request, on: connection)
            caller = try gate.caller(claim, on: connection)
            guard let method = RPCMethod(path: path) else {
                throw KeelError(
                    .notImplemented, "there is no method '\(path.prefix(100))'", hint: "inference.GRPCInferenceService is served")
            }
            guard let known = MessageEncoding(rawValue: encoding) else {
                throw KeelError(
                    .notImplemented, "messages compressed by '\(encoding.prefix(40))' are not accepted", hint: "gzip and deflate are")
            }
            self.method = method
            self.encoding = known
            deadline = try RPCHead.deadline(timeout)
        } catch { throw .grpc(error) }
    }

    /// Reads the head of a call whose fields are those of an earlier call of the connection, but for `varying`: who stands behind the claim, and how long
    /// the client waits, is asked for every call.
    init(_ headers: HPACKHeaders, like earlier: RPCHead, gate: RequestGate, connection: HTTPConnection) throws(Refusal) {
        method = earlier.method
        claim = earlier.claim
        encoding = earlier.encoding
        var timeout: String?
        var traceparent: String?
        for (name, value, _) in headers {
            if name == "grpc-timeout" { timeout = value }
            if name == "traceparent" { traceparent = value }
        }
        self.traceparent = traceparent
        do throws(KeelError) {
            caller = try gate.caller(claim, on: connection)
            deadline = try RPCHead.deadline(timeout)
        } catch { throw .grpc(error) }
    }

    /// Fields that say nothing of who calls what, and that clients change with each call.
    fileprivate static let varying: Set<String> = ["grpc-timeout", "traceparent"]

    private static func deadline(_ timeout: String?) throws(KeelError) -> NIODeadline? {
        guard let timeout else { return nil }
        guard let duration = Duration(timeout: timeout) else { throw .invalid("'\(timeout.prefix(20))' is not a grpc-timeout") }
        return .now() + TimeAmount(min(duration, .seconds(86_400 * 365)))
    }

    /// `application/grpc`, perhaps with `+proto` or parameters behind it.
    private static func isGRPC(_ type: String) -> Bool {
        guard type.hasPrefix("application/grpc") else { return false }
        let rest = type.utf8.dropFirst(16).first
        return rest == nil || rest == UInt8(ascii: "+") || rest == UInt8(ascii: ";")
    }
}

extension HPACKHeaders {
    /// Whether the other head has the same fields in the same order, with the same values but for those of `RPCHead.varying` (decision 0039).
    func claimsTheSame(as other: HPACKHeaders) -> Bool {
        guard count == other.count else { return false }
        for (mine, others) in zip(self, other) {
            guard mine.name == others.name, mine.value == others.value || RPCHead.varying.contains(mine.name) else { return false }
        }
        return true
    }
}

import Contracts

/// How a call ended, in gRPC's terms (github.com/grpc/grpc, doc/statuscodes.md).
package struct GRPCStatus: Sendable, Equatable {
    package enum Code: Int, Sendable {
        case ok = 0
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case aborted = 10
        case outOfRange = 11
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16

        package init(_ code: KeelError.Code) {
            self =
                switch code {
                case .invalidArgument, .contractViolation, .unsupportedMediaType: .invalidArgument
                case .notFound: .notFound
                case .alreadyExists: .alreadyExists
                case .permissionDenied: .permissionDenied
                case .unauthenticated: .unauthenticated
                case .tooManyRequests, .payloadTooLarge: .resourceExhausted
                case .failedPrecondition: .failedPrecondition
                case .unavailable, .badGateway: .unavailable
                case .deadlineExceeded: .deadlineExceeded
                case .engineMissing, .internal: .internal
                case .notImplemented: .unimplemented
                case .corrupted: .dataLoss
                case .cancelled: .cancelled
                }
        }
    }

    package let code: Code
    package let message: String

    package init(_ error: KeelError) {
        code = Code(error.code)
        message = error.description
    }

    /// The message as `grpc-message` carries it: what is not printable ASCII, and `%`, is percent-encoded UTF-8 (gRPC over HTTP/2, Responses).
    package var encodedMessage: String {
        let hex = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in message.utf8.prefix(GRPCStatus.messageBytesMax) {
            if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
                out.append(byte)
            } else {
                out += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
    /// Clients take 8 KiB of headers, and encoded a byte may become three.
    private static let messageBytesMax = 2000
}

extension Duration {
    /// The value of `grpc-timeout`: up to eight digits and a unit.
    package init?(timeout text: String) {
        guard let unit = text.utf8.last, (2...9).contains(text.utf8.count), text.utf8.dropLast().allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int64(text.dropLast())
        else { return nil }
        switch unit {
        case UInt8(ascii: "H"): self = .seconds(number * 3600)
        case UInt8(ascii: "M"): self = .seconds(number * 60)
        case UInt8(ascii: "S"): self = .seconds(number)
        case UInt8(ascii: "m"): self = .milliseconds(number)
        case UInt8(ascii: "u"): self = .microseconds(number)
        case UInt8(ascii: "n"): self = .nanoseconds(number)
        default: return nil
        }
    }
}

import Contracts

/// Keel's errors as MLflow has them: the one place where codes become MLflow's.
enum ErrorWire {
    static func code(_ code: KeelError.Code) -> String {
        switch code {
        case .invalidArgument, .contractViolation, .unsupportedMediaType: "INVALID_PARAMETER_VALUE"
        case .notFound: "RESOURCE_DOES_NOT_EXIST"
        case .alreadyExists: "RESOURCE_ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .unauthenticated: "UNAUTHENTICATED"
        case .tooManyRequests: "REQUEST_LIMIT_EXCEEDED"
        case .failedPrecondition: "INVALID_STATE"
        case .unavailable, .badGateway: "TEMPORARILY_UNAVAILABLE"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .payloadTooLarge: "BAD_REQUEST"
        case .engineMissing, .notImplemented: "NOT_IMPLEMENTED"
        case .cancelled: "CANCELLED"
        case .corrupted, .internal: "INTERNAL_ERROR"
        }
    }

    /// MLflow's message has no field for a hint or a place: they follow the text.
    static func body(_ error: KeelError) -> JSON { ["error_code": .string(code(error.code)), "message": .string(error.description)] }
}

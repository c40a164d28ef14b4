import COnnxRuntime
import Contracts

/// The element types of tensors that Keel moves; the others of ONNX (complex numbers, 8-bit floats, 4-bit integers) it does not.
enum ONNXElement: Int32, Sendable, Hashable {
    case float32 = 1
    case uint8 = 2
    case int8 = 3
    case uint16 = 4
    case int16 = 5
    case int32 = 6
    case int64 = 7
    case string = 8
    case bool = 9
    case float16 = 10
    case float64 = 11
    case uint32 = 12
    case uint64 = 13
    case bfloat16 = 16

    /// The narrowest of Keel's types that holds every value; of uint64 those that int64 holds.
    var type: DataType {
        switch self {
        case .float32, .float16, .bfloat16: .float32
        case .float64: .float64
        case .int8, .int16, .uint8, .uint16, .int32: .int32
        case .uint32, .uint64, .int64: .int64
        case .string: .string
        case .bool: .bool
        }
    }

    /// Whether NaN can stand for a missing value.
    var hasMissing: Bool {
        switch self {
        case .float16, .bfloat16, .float32, .float64: true
        default: false
        }
    }

    /// What ONNX calls it, for messages.
    var name: String { "\(self)" }

    /// What ONNX calls a type, known or not.
    static func name(_ number: Int32) -> String {
        if let known = ONNXElement(rawValue: number) { return known.name }
        return switch number {
        case 14: "complex64"
        case 15: "complex128"
        default: "a type that ONNX numbers \(number)"
        }
    }
}

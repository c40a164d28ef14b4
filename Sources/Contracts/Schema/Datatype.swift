/// An element type of the Open Inference Protocol.
package enum Datatype: String, Sendable, CaseIterable {
    case bool = "BOOL"
    case uint8 = "UINT8"
    case uint16 = "UINT16"
    case uint32 = "UINT32"
    case uint64 = "UINT64"
    case int8 = "INT8"
    case int16 = "INT16"
    case int32 = "INT32"
    case int64 = "INT64"
    case fp16 = "FP16"
    case bf16 = "BF16"
    case fp32 = "FP32"
    case fp64 = "FP64"
    case bytes = "BYTES"

    package init(_ word: UnsafeBufferPointer<UInt8>) throws(KeelError) {
        guard word.count < 8, let place = Datatype.packed.firstIndex(of: Datatype.pack(word)) else {
            throw .invalid(
                "'\(String(decoding: word.prefix(40), as: UTF8.self))' is not a datatype that is accepted here",
                hint: "one of \(Datatype.allCases.map(\.rawValue).joined(separator: ", "))", path: "datatype")
        }
        self = Datatype.allCases[place]
    }

    /// The words as numbers, which are compared at once.
    private static let packed = allCases.map { pack($0.rawValue.utf8) }
    /// A word of fewer than eight bytes and its length as one number.
    private static func pack(_ word: some Collection<UInt8>) -> UInt64 { word.reduce(UInt64(word.count)) { $0 << 8 | UInt64($1) } }

    /// The word for values of a type of Keel's; instants and days are sent as texts.
    package init(of type: DataType) {
        self =
            switch type {
            case .bool: .bool
            case .int32: .int32
            case .int64: .int64
            case .float32: .fp32
            case .float64: .fp64
            case .string, .bytes, .date, .timestamp: .bytes
            case .list(let element), .tensor(let element, _): Datatype(of: element)
            }
    }

    /// The type of Keel's that holds all its values (of UINT64 those below 2⁶³).
    package var element: DataType {
        switch self {
        case .bool: .bool
        case .int8, .int16, .int32, .uint8, .uint16: .int32
        case .uint32, .int64, .uint64: .int64
        case .fp16, .bf16, .fp32: .float32
        case .fp64: .float64
        case .bytes: .string
        }
    }

    /// The largest magnitude of a float; nil for other types.
    package var magnitudeMax: Double? {
        switch self {
        case .fp16: Double(Float16.greatestFiniteMagnitude)
        case .bf16, .fp32: Double(Float.greatestFiniteMagnitude)
        case .fp64: Double.greatestFiniteMagnitude
        default: nil
        }
    }

    /// Bytes of one element in binary data; nil for texts, which carry their length.
    package var size: Int? {
        switch self {
        case .bool, .uint8, .int8: 1
        case .uint16, .int16, .fp16, .bf16: 2
        case .uint32, .int32, .fp32: 4
        case .uint64, .int64, .fp64: 8
        case .bytes: nil
        }
    }

    /// The whole numbers that it holds and Keel does: columns hold int64. Nil for what is no integer.
    package var integers: ClosedRange<Int64>? {
        switch self {
        case .uint8: 0...Int64(UInt8.max)
        case .uint16: 0...Int64(UInt16.max)
        case .uint32: 0...Int64(UInt32.max)
        case .uint64: 0...Int64.max
        case .int8: Int64(Int8.min)...Int64(Int8.max)
        case .int16: Int64(Int16.min)...Int64(Int16.max)
        case .int32: Int64(Int32.min)...Int64(Int32.max)
        case .int64: .min ... .max
        case .bool, .fp16, .bf16, .fp32, .fp64, .bytes: nil
        }
    }

    /// What an error says of a value that does not fit.
    package var bounds: String {
        if let integers { return "a whole number from \(integers.lowerBound) to \(integers.upperBound)" }
        switch self {
        case .fp16: return "a number up to 65,504"
        case .bf16, .fp32: return "a number up to 3.4e38"
        default: return "a finite number"
        }
    }
}

import Contracts

/// A request of the Open Inference Protocol: JSON, with the tensors inside or behind it as binary data.
package struct OpenInferenceRequest {
    package let bytes: [UInt8]
    /// The length of the JSON when binary data follow it.
    package let headerBytes: Int?

    /// - Parameter table: the columns of `facts.inputs`, in their order.
    /// - Throws: `invalidArgument` for a value that the model's datatype cannot hold, with its place.
    package init(_ table: Table, _ facts: OpenInference.Facts, params: JSON) throws(KeelError) {
        var inputs: [JSON] = []
        var binary: [UInt8] = []
        for (tensor, column) in zip(facts.inputs, table.columns) {
            let (values, shape) = try OpenInferenceRequest.elements(column, of: tensor)
            var input: JSON = [
                "name": .string(tensor.name), "datatype": .string(tensor.datatype.rawValue),
                "shape": .array(([column.count] + shape).map { .int(Int64($0)) }),
            ]
            if facts.isBinary {
                let start = binary.count
                try OpenInferenceRequest.write(values, tensor, rows: column.count, to: &binary)
                input["parameters"] = ["binary_data_size": .int(Int64(binary.count - start))]
            } else {
                input["data"] = .array(try OpenInferenceRequest.json(values, tensor, rows: column.count))
            }
            inputs.append(input)
        }
        var body: JSON = [
            "inputs": .array(inputs),
            "outputs": .array(
                facts.outputs.map { output in
                    var wanted: JSON = ["name": .string(output.name)]
                    if facts.isBinary { wanted["parameters"] = ["binary_data": true] }
                    return wanted
                }),
        ]
        if let members = params.members, !members.isEmpty { body["parameters"] = params }
        let header = body.bytes
        bytes = header + binary
        headerBytes = facts.isBinary ? header.count : nil
    }

    /// The elements one after another, and the shape of one row.
    private static func elements(_ column: Column, of tensor: OpenTensor) throws(KeelError) -> (Column, [Int]) {
        guard case .list(let offsets, let values) = column.buffer else { return (column, tensor.row.map { _ in 1 }) }
        let shape: [Int] = if case .tensor(_, let shape) = column.type { shape } else { [column.count > 0 ? offsets[1] : 0] }
        let size = shape.reduce(1, *)
        for i in 0..<column.count where !column.isValid(i) || offsets[i + 1] - offsets[i] != size {
            throw .invalid("'\(tensor.name)' has no whole tensor in this row", path: place(tensor, i, of: column.count))
        }
        return (values, shape)
    }

    private static func place(_ tensor: OpenTensor, _ i: Int, of count: Int) -> String { count == 1 ? tensor.name : "\(tensor.name)[\(i)]" }

    private static func misfit(_ value: String, _ tensor: OpenTensor, _ i: Int, rows: Int, of count: Int) -> KeelError {
        let row = count == 0 ? 0 : i * rows / count
        return .invalid("\(value) does not fit in '\(tensor.name)', which is \(tensor.datatype.rawValue)", path: place(tensor, row, of: rows))
    }

    /// In binary data a missing float is NaN; nothing else can be missing on the wire.
    private static func requireWhole(_ values: Column, _ tensor: OpenTensor, rows: Int) throws(KeelError) {
        guard values.nullCount > 0, let i = (0..<values.count).first(where: { !values.isValid($0) }) else { return }
        throw .invalid("'\(tensor.name)' must have a value in every row", path: place(tensor, i * rows / values.count, of: rows))
    }

    // MARK: Binary

    private static func write(_ values: Column, _ tensor: OpenTensor, rows: Int, to out: inout [UInt8]) throws(KeelError) {
        func add<Integer: FixedWidthInteger>(_ value: Integer) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
        switch tensor.datatype {
        case .fp64: for value in try floats(values, tensor, rows) { add(value.bitPattern) }
        case .fp32: for value in try floats(values, tensor, rows) { add(Float(value).bitPattern) }
        case .fp16: for value in try floats(values, tensor, rows) { add(Float16(value).bitPattern) }
        // The upper half of a float32, rounded to the nearest.
        case .bf16: for value in try floats(values, tensor, rows) { add(UInt16(truncatingIfNeeded: rounded(Float(value).bitPattern) >> 16)) }
        case .bool:
            try requireWhole(values, tensor, rows: rows)
            for i in 0..<values.count { out.append(values[i] == .bool(true) ? 1 : 0) }
        case .bytes:
            try requireWhole(values, tensor, rows: rows)
            guard case .text(let texts) = values.buffer else { throw misfit("a number", tensor, 0, rows: rows, of: 0) }
            for i in 0..<texts.count {
                add(UInt32(texts.bytes(i).count))
                out.append(contentsOf: texts.bytes(i))
            }
        default:
            let size = tensor.datatype.size ?? 8
            for value in try integers(values, tensor, rows) {
                withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0.prefix(size)) }
            }
        }
    }

    /// Bits that round a float32 to one with 16 bits; NaN stays NaN.
    private static func rounded(_ bits: UInt32) -> UInt32 {
        let isNaN = bits & 0x7fff_ffff > 0x7f80_0000
        return isNaN ? bits | 0x0040_0000 : bits &+ 0x7fff &+ (bits >> 16 & 1)
    }

    private static func floats(_ values: Column, _ tensor: OpenTensor, _ rows: Int) throws(KeelError) -> [Double] {
        guard let numbers = values.doubles() else { throw misfit("a text", tensor, 0, rows: rows, of: 0) }
        return numbers
    }

    private static func integers(_ values: Column, _ tensor: OpenTensor, _ rows: Int) throws(KeelError) -> [Int64] {
        try requireWhole(values, tensor, rows: rows)
        let all: [Int64]
        switch values.buffer {
        case .int32(let v): all = v.map(Int64.init)
        case .int64(let v): all = v
        default: throw misfit("a value of \(values.type)", tensor, 0, rows: rows, of: 0)
        }
        if let range = tensor.datatype.integers, let i = all.firstIndex(where: { !range.contains($0) }) {
            throw misfit("\(all[i])", tensor, i, rows: rows, of: all.count)
        }
        return all
    }

    // MARK: JSON

    private static func json(_ values: Column, _ tensor: OpenTensor, rows: Int) throws(KeelError) -> [JSON] {
        switch tensor.datatype {
        case .fp16, .bf16, .fp32, .fp64:
            let numbers = try floats(values, tensor, rows)
            if let i = numbers.firstIndex(where: { !$0.isFinite }) { throw misfit("what is no finite number", tensor, i, rows: rows, of: numbers.count) }
            return numbers.map { .double($0) }
        case .bool:
            try requireWhole(values, tensor, rows: rows)
            return (0..<values.count).map { .bool(values[$0] == .bool(true)) }
        case .bytes:
            try requireWhole(values, tensor, rows: rows)
            guard case .text(let texts) = values.buffer else { throw misfit("a number", tensor, 0, rows: rows, of: 0) }
            return try (0..<texts.count).map { (i) throws(KeelError) in
                guard let text = String(validating: texts.bytes(i), as: UTF8.self) else {
                    throw misfit("what is no text", tensor, i, rows: rows, of: texts.count)
                }
                return .string(text)
            }
        default: return try integers(values, tensor, rows).map { .int($0) }
        }
    }
}

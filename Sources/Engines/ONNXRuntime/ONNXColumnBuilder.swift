import COnnxRuntime
import Contracts

/// Makes a column of one output from the runs of a table's pieces.
struct ONNXColumnBuilder {
    private let port: ONNXModel.Port
    private let element: ONNXElement
    /// Whether it is known to be of a run, and not of its rows.
    private let isWhole: Bool
    /// The shape of one row; nil before the first piece, empty for scalars.
    private var rowShape: [Int]?
    /// The elements of each piece.
    private var parts: [Column.Buffer] = []
    private var rowCount = 0
    private var isText = true

    /// - Parameter pieceRows: how many rows the model takes at a time; nil is any number.
    init(_ port: ONNXModel.Port, pieceRows: Int?) throws(KeelError) {
        guard let element = port.element else {
            throw .invalid(
                "output '\(port.name)' is \(port.refusal ?? "unknown"), which is not supported",
                hint: "ask for the other outputs, or export the model so that it gives tensors")
        }
        self.port = port
        self.element = element
        isWhole = port.isWhole(rows: pieceRows)
    }

    /// Takes over an output of one run.
    ///
    /// - Parameters:
    ///   - index: its place in `values`.
    ///   - rows: how many rows the run had; `kept` of them are of the table, the others only filled the piece.
    /// - Throws: `invalidArgument` for an output that does not belong to the rows, or whose values Keel's types do not hold.
    mutating func append(_ values: OpaquePointer, _ index: Int, rows: Int, kept: Int) throws(KeelError) {
        if port.labels != nil { return try appendMaps(values, index, rows: rows, kept: kept) }
        var tensor = keel_onnx_tensor()
        if let message = ONNXRuntimeLibrary.take(keel_onnx_tensor_at(values, index, &tensor)) { throw failure(message) }
        let shape = ONNXColumnBuilder.shape(tensor)
        try join(try row(shape, rows))
        let count = rows == kept ? tensor.count : tensor.count / rows * kept
        parts.append(element == .string ? try texts(values, index, tensor.count, count) : try numbers(tensor, count, rows: rows))
        rowCount += kept
    }

    /// The column of all rows.
    func column() -> Column {
        let shape = rowShape ?? []
        let type: DataType = element == .string && !isText ? .bytes : element.type
        let all = Column(type, ONNXColumnBuilder.joined(parts))
        guard !shape.isEmpty else { return all }
        let size = rowCount == 0 ? 0 : all.count / rowCount
        let offsets = (0...rowCount).map { $0 * size }
        return Column(.tensor(type, shape: shape), .list(offsets: offsets, values: all))
    }

    private func failure(_ message: String) -> KeelError { .invalid("output '\(port.name)': \(message)") }

    /// The shape of one row: empty when a row has one value.
    private func row(_ shape: [Int], _ rows: Int) throws(KeelError) -> [Int] {
        guard shape.first == rows else {
            // What is not of the rows is of the table; with one row that is the same.
            guard rows == 1 else {
                throw failure("it has the shape \(shape) for \(rows) rows, whose first dimension is not the number of rows")
            }
            return shape
        }
        // It may be so by chance, and another number of rows would have shown it. (Some models declare a wrong number.)
        guard !isWhole || rows == 1 || port.shape.first != rows else {
            throw failure("its first dimension is \(rows) for any number of rows, so that it is not of the rows")
        }
        let row = Array(shape.dropFirst())
        // A dimension that the model leaves open stays one when it happens to be 1.
        let isOpen = port.shape.count == 2 && port.shape[1] == -1
        return row == [1] && !isOpen ? [] : row
    }

    private mutating func join(_ shape: [Int]) throws(KeelError) {
        guard let known = rowShape else {
            rowShape = shape
            return
        }
        guard known == shape else {
            throw failure("its shape is \(known) for the first row and \(shape) for row \(rowCount); a column has one shape")
        }
    }

    private mutating func appendMaps(_ values: OpaquePointer, _ index: Int, rows: Int, kept: Int) throws(KeelError) {
        let width = port.positions.count
        var count = 0
        if let message = ONNXRuntimeLibrary.take(keel_onnx_map_count(values, index, &count)) { throw failure(message) }
        guard count == rows else { throw failure("it has \(count) maps for \(rows) rows") }
        try join([width])
        var out = [Float](repeating: 0, count: kept * width)
        for i in 0..<kept {
            var parts: OpaquePointer?
            if let message = ONNXRuntimeLibrary.take(keel_onnx_map_at(values, index, i, &parts)) { throw failure(message) }
            guard let parts else { throw failure("ONNX Runtime gave no map") }
            defer { keel_onnx_values_free(parts) }
            var tensor = keel_onnx_tensor()
            if let message = ONNXRuntimeLibrary.take(keel_onnx_tensor_at(parts, 1, &tensor)) { throw failure(message) }
            guard tensor.type == ONNXElement.float32.rawValue, tensor.count == width, let data = tensor.data else {
                throw failure("the map of row \(rowCount + i) has \(tensor.count) entries for \(width) classes")
            }
            let probabilities = data.assumingMemoryBound(to: Float.self)
            for (j, position) in port.positions.enumerated() { out[i * width + position] = probabilities[j] }
        }
        parts.append(.float32(out))
        rowCount += kept
    }

    private mutating func texts(_ values: OpaquePointer, _ index: Int, _ count: Int, _ kept: Int) throws(KeelError) -> Column.Buffer {
        guard count > 0 else { return .text(TextBuffer()) }
        var size = 0
        if let message = ONNXRuntimeLibrary.take(keel_onnx_strings_size(values, index, &size)) { throw failure(message) }
        var bytes = [UInt8](repeating: 0, count: size)
        var offsets = [Int](repeating: 0, count: count + 1)
        // Without any byte an address is wanted all the same.
        if bytes.isEmpty { bytes = [0] }
        if let message = ONNXRuntimeLibrary.take(keel_onnx_strings(values, index, &bytes, size, &offsets, count)) { throw failure(message) }
        offsets[count] = size
        bytes.removeLast(bytes.count - offsets[kept])
        offsets.removeLast(count - kept)
        isText = isText && ONNXColumnBuilder.isText(bytes, offsets)
        return .text(TextBuffer(offsets: offsets, bytes: bytes))
    }

    /// Whether every element is UTF-8: they are together, and none begins inside of a character.
    private static func isText(_ bytes: [UInt8], _ offsets: [Int]) -> Bool {
        guard (try? UTF8Span(validating: bytes.span)) != nil else { return false }
        return offsets.dropLast().allSatisfy { $0 == bytes.count || bytes[$0] & 0xc0 != 0x80 }
    }

    private func numbers(_ tensor: keel_onnx_tensor, _ count: Int, rows: Int) throws(KeelError) -> Column.Buffer {
        guard tensor.type == element.rawValue else {
            throw failure("it is \(ONNXElement.name(tensor.type)), and \(element.name) is declared")
        }
        func values<T>(_ type: T.Type) -> UnsafeBufferPointer<T> {
            UnsafeBufferPointer(start: tensor.data?.assumingMemoryBound(to: T.self), count: tensor.data == nil ? 0 : count)
        }
        switch element {
        case .float32: return .float32(Array(values(Float.self)))
        case .float64: return .float64(Array(values(Double.self)))
        case .float16: return .float32(values(Float16.self).map { Float($0) })
        case .bfloat16: return .float32(values(BFloat16.self).map(\.float))
        case .int8: return .int32(values(Int8.self).map { Int32($0) })
        case .int16: return .int32(values(Int16.self).map { Int32($0) })
        case .uint8: return .int32(values(UInt8.self).map { Int32($0) })
        case .uint16: return .int32(values(UInt16.self).map { Int32($0) })
        case .int32: return .int32(Array(values(Int32.self)))
        case .uint32: return .int64(values(UInt32.self).map { Int64($0) })
        case .int64: return .int64(Array(values(Int64.self)))
        case .bool: return .bool(values(UInt8.self).map { $0 != 0 })
        case .string: return .text(TextBuffer())
        case .uint64:
            let numbers = values(UInt64.self)
            if let i = numbers.firstIndex(where: { $0 > UInt64(Int64.max) }) {
                throw failure("\(numbers[i]) of row \(rowCount + i / (tensor.count / rows)) does not fit in int64")
            }
            return .int64(numbers.map { Int64($0) })
        }
    }

    private static func shape(_ tensor: keel_onnx_tensor) -> [Int] {
        withUnsafeBytes(of: tensor.shape) { $0.bindMemory(to: Int64.self).prefix(tensor.rank).map { Int($0) } }
    }

    private static func joined(_ parts: [Column.Buffer]) -> Column.Buffer {
        guard parts.count > 1, let first = parts.first else { return parts.first ?? .bool([]) }
        func all<T>(_ elements: (Column.Buffer) -> [T]?) -> [T] {
            var out: [T] = []
            for part in parts { out += elements(part) ?? [] }
            return out
        }
        switch first {
        case .bool: return .bool(all { if case .bool(let v) = $0 { v } else { nil } })
        case .int32: return .int32(all { if case .int32(let v) = $0 { v } else { nil } })
        case .int64: return .int64(all { if case .int64(let v) = $0 { v } else { nil } })
        case .float32: return .float32(all { if case .float32(let v) = $0 { v } else { nil } })
        case .float64: return .float64(all { if case .float64(let v) = $0 { v } else { nil } })
        case .text:
            var bytes: [UInt8] = []
            var offsets = [0]
            for case .text(let texts) in parts {
                offsets.append(contentsOf: texts.offsets.dropFirst().map { bytes.count + $0 })
                bytes.append(contentsOf: texts.bytes)
            }
            return .text(TextBuffer(offsets: offsets, bytes: bytes))
        case .list: return first
        }
    }
}

import COnnxRuntime
import Contracts

/// The input tensors of one run, filled from rows of a table. Their memory lives as long as this.
final class ONNXTensors {
    private(set) var native: [keel_onnx_tensor] = []
    private var memory: [UnsafeMutableRawPointer] = []

    /// A value that its tensor cannot hold: where it stands in the column, and what is wrong.
    private struct Misfit: Error {
        let index: Int
        let what: String
    }

    /// - Parameter rows: at least one.
    /// - Throws: `invalidArgument` that names the column and the row of a value that does not fit.
    init(_ inputs: [ONNXModel.Port], _ fillings: [ONNXFilling], _ table: Table, rows: Range<Int>) throws(KeelError) {
        native.reserveCapacity(inputs.count)
        memory.reserveCapacity(inputs.count)
        let columns = table.columns
        for i in inputs.indices { try add(inputs[i], fillings[i], columns, table, rows) }
    }

    deinit { for block in memory { block.deallocate() } }

    private func add(
        _ port: ONNXModel.Port, _ filling: ONNXFilling, _ columns: [Column], _ table: Table, _ rows: Range<Int>
    ) throws(KeelError) {
        switch port.element {
        case .none: break
        case .string: try addStrings(port, filling, columns, table, rows)
        case .float32: try add(Float.self, port, filling, columns, table, rows)
        case .float64: try add(Double.self, port, filling, columns, table, rows)
        case .float16: try add(Float16.self, port, filling, columns, table, rows)
        case .bfloat16: try add(BFloat16.self, port, filling, columns, table, rows)
        case .int8: try add(Int8.self, port, filling, columns, table, rows)
        case .int16: try add(Int16.self, port, filling, columns, table, rows)
        case .int32: try add(Int32.self, port, filling, columns, table, rows)
        case .int64: try add(Int64.self, port, filling, columns, table, rows)
        case .uint8: try add(UInt8.self, port, filling, columns, table, rows)
        case .uint16: try add(UInt16.self, port, filling, columns, table, rows)
        case .uint32: try add(UInt32.self, port, filling, columns, table, rows)
        case .uint64: try add(UInt64.self, port, filling, columns, table, rows)
        case .bool: try add(ONNXBool.self, port, filling, columns, table, rows)
        }
    }

    private func add<T: ONNXNumber>(
        _ type: T.Type, _ port: ONNXModel.Port, _ filling: ONNXFilling, _ columns: [Column], _ table: Table, _ rows: Range<Int>
    ) throws(KeelError) {
        switch filling {
        case .scalar(let c):
            let out = allocate(T.self, rows.count)
            do throws(Misfit) { try ONNXTensors.write(columns[c], rows, to: out, stride: 1) } catch {
                throw ONNXTensors.error(error, port, "\(table.names[c])[\(error.index)]")
            }
            append(port, out, rows.count, row: port.shape.count > 1 ? 1 : nil)
        case .spread(let sources):
            let out = allocate(T.self, rows.count * sources.count)
            for (j, c) in sources.enumerated() {
                do throws(Misfit) { try ONNXTensors.write(columns[c], rows, to: out + j, stride: sources.count) } catch {
                    throw ONNXTensors.error(error, port, "\(table.names[c])[\(error.index)]")
                }
            }
            append(port, out, rows.count, row: sources.count)
        case .nested(let c, let rowShape):
            let place = try ONNXTensors.place(columns[c], table.names[c], port, rowShape, rows)
            let out = allocate(T.self, place.elements.count)
            do throws(Misfit) { try ONNXTensors.write(place.values, place.elements, to: out, stride: 1) } catch {
                let offset = error.index - place.elements.lowerBound
                let (row, element) = offset.quotientAndRemainder(dividingBy: place.elements.count / rows.count)
                throw ONNXTensors.error(error, port, "\(table.names[c])[\(rows.lowerBound + row)][\(element)]")
            }
            append(port, out, place.elements.count, shape: [rows.count] + place.rowShape)
        }
    }

    private func addStrings(
        _ port: ONNXModel.Port, _ filling: ONNXFilling, _ columns: [Column], _ table: Table, _ rows: Range<Int>
    ) throws(KeelError) {
        var bytes: [UInt8] = []
        var ends: [Int] = []
        func add(_ column: Column, _ index: Int, _ path: @autoclosure () -> String) throws(KeelError) {
            guard column.isValid(index) else {
                throw .invalid("a value is missing; input '\(port.name)' takes a string", path: path())
            }
            if case .text(let texts) = column.buffer { bytes.append(contentsOf: texts.bytes(index)) }
            ends.append(bytes.count)
        }
        var shape: [Int]
        switch filling {
        case .scalar(let c):
            shape = port.shape.isEmpty ? [] : port.shape.count == 1 ? [rows.count] : [rows.count, 1]
            for r in rows { try add(columns[c], r, "\(table.names[c])[\(r)]") }
        case .spread(let sources):
            shape = [rows.count, sources.count]
            for r in rows { for c in sources { try add(columns[c], r, "\(table.names[c])[\(r)]") } }
        case .nested(let c, let rowShape):
            let place = try ONNXTensors.place(columns[c], table.names[c], port, rowShape, rows)
            shape = [rows.count] + place.rowShape
            for i in place.elements {
                let (row, element) = (i - place.elements.lowerBound).quotientAndRemainder(
                    dividingBy: place.elements.count / rows.count)
                try add(place.values, i, "\(table.names[c])[\(rows.lowerBound + row)][\(element)]")
            }
        }
        let data = allocate(UInt8.self, bytes.count)
        data.update(from: bytes, count: bytes.count)
        let positions = allocate(Int.self, ends.count)
        positions.update(from: ends, count: ends.count)
        append(port, data, ends.count, shape: shape)
        native[native.count - 1].ends = UnsafeRawPointer(positions).assumingMemoryBound(to: Int.self)
    }

    private func allocate<T>(_ type: T.Type, _ count: Int) -> UnsafeMutablePointer<T> {
        // A tensor without elements has an address too.
        let block = UnsafeMutableRawPointer.allocate(byteCount: max(1, count * MemoryLayout<T>.stride), alignment: 16)
        memory.append(block)
        return block.bindMemory(to: T.self, capacity: count)
    }

    private func append(_ port: ONNXModel.Port, _ data: UnsafeRawPointer, _ count: Int, shape: [Int]) {
        var tensor = keel_onnx_tensor()
        tensor.type = port.element?.rawValue ?? 0
        tensor.rank = shape.count
        tensor.count = count
        tensor.data = data
        withUnsafeMutableBytes(of: &tensor.shape) { bytes in
            let dimensions = bytes.bindMemory(to: Int64.self)
            for (i, dimension) in shape.enumerated() { dimensions[i] = Int64(dimension) }
        }
        native.append(tensor)
    }

    /// A tensor of one value a row, or of `row` values.
    private func append(_ port: ONNXModel.Port, _ data: UnsafeRawPointer, _ rows: Int, row: Int?) {
        var tensor = keel_onnx_tensor()
        tensor.type = port.element?.rawValue ?? 0
        tensor.count = rows * (row ?? 1)
        tensor.data = data
        if !port.shape.isEmpty {
            tensor.rank = row == nil ? 1 : 2
            tensor.shape.0 = Int64(rows)
            tensor.shape.1 = Int64(row ?? 0)
        }
        native.append(tensor)
    }

    /// The elements of rows of a tensor or list column, which lie one after another.
    private struct Place {
        let values: Column
        let elements: Range<Int>
        let rowShape: [Int]
    }

    private static func place(
        _ column: Column, _ name: String, _ port: ONNXModel.Port, _ rowShape: [Int]?, _ rows: Range<Int>
    ) throws(KeelError) -> Place {
        guard case .list(let offsets, let values) = column.buffer else { throw .invalid("column '\(name)' holds no tensors", path: name) }
        func length(_ row: Int) -> Int { offsets[row + 1] - offsets[row] }
        let shape = rowShape ?? [length(rows.lowerBound)]
        var size = 1
        for dimension in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw .invalid("\(shape) is not a shape", path: name) }
            size = product
        }
        for row in rows {
            guard column.isValid(row) else {
                throw .invalid("a value is missing; input '\(port.name)' takes a tensor", path: "\(name)[\(row)]")
            }
            guard length(row) == size else {
                let reason = rowShape == nil ? "the rows of one run must have equally many" : "input '\(port.name)' takes \(size)"
                throw .invalid("the row has \(length(row)) elements; \(reason)", path: "\(name)[\(row)]")
            }
        }
        return Place(values: values, elements: offsets[rows.lowerBound]..<offsets[rows.upperBound], rowShape: shape)
    }

    private static func error(_ misfit: Misfit, _ port: ONNXModel.Port, _ path: String) -> KeelError {
        .invalid("\(misfit.what); input '\(port.name)' takes \(port.element?.name ?? "")", path: path)
    }

    /// Converts elements of a column of numbers or booleans.
    private static func write<T: ONNXNumber>(
        _ column: Column, _ range: Range<Int>, to out: UnsafeMutablePointer<T>, stride: Int
    ) throws(Misfit) {
        switch column.buffer {
        case .bool(let values): try convert(values, column, range, out, stride) { T.from($0 ? 1 as Int64 : 0) }
        case .int32(let values): try convert(values, column, range, out, stride) { T.from(Int64($0)) }
        case .int64(let values): try convert(values, column, range, out, stride) { T.from($0) }
        case .float32(let values): try convert(values, column, range, out, stride) { $0.isNaN ? T.missing : T.from(Double($0)) }
        case .float64(let values): try convert(values, column, range, out, stride) { $0.isNaN ? T.missing : T.from($0) }
        case .text, .list: throw Misfit(index: range.lowerBound, what: "the value is no number")
        }
    }

    @inline(__always)
    private static func convert<S, T: ONNXNumber>(
        _ values: [S], _ column: Column, _ range: Range<Int>, _ out: UnsafeMutablePointer<T>, _ stride: Int, _ number: (S) -> T?
    ) throws(Misfit) {
        if S.self == T.self, stride == 1, column.validity == nil {
            copy(values, range, to: out)
            return
        }
        let validity = column.validity
        var at = out
        for i in range {
            let isThere = validity.map { $0[i] } ?? true
            guard let value = isThere ? number(values[i]) : T.missing else {
                let isMissing = !isThere || "\(values[i])" == "nan"
                throw Misfit(index: i, what: isMissing ? "a value is missing" : "\(values[i]) does not fit")
            }
            at.pointee = value
            at += stride
        }
    }

    /// Apart from what throws: see "Faults of the compiler" in CONTRIBUTING.md.
    @inline(never)
    private static func copy<S>(_ values: [S], _ range: Range<Int>, to out: UnsafeMutableRawPointer) {
        values.withUnsafeBytes { bytes in
            let part = bytes[range.lowerBound * MemoryLayout<S>.stride..<range.upperBound * MemoryLayout<S>.stride]
            out.copyMemory(from: UnsafeRawBufferPointer(rebasing: part).baseAddress ?? UnsafeRawPointer(out), byteCount: part.count)
        }
    }
}

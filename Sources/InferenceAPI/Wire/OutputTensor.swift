import Contracts

/// A column of a model's outputs as a tensor of the Open Inference Protocol.
///
/// Instants and days are texts. Lists of one length are a dimension; lists of different lengths are texts of JSON, since a tensor has no ragged edge. What is
/// missing is null in JSON, and in binary data NaN, 0, false or an empty text.
package struct OutputTensor {
    package let datatype: Datatype
    package let shape: [Int]
    private let elements: Column

    package init(_ column: Column) {
        switch (column.type, column.buffer) {
        case (.tensor(let element, let row), .list(_, let values)) where column.validity == nil:
            (datatype, shape, elements) = (Datatype(of: element), [column.count] + row, values)
        case (.list(let element), .list(let offsets, let values)) where column.validity == nil && OutputTensor.isEven(offsets):
            let size = column.count > 0 ? offsets[1] : 0
            (datatype, shape, elements) = (Datatype(of: element), [column.count, size], values)
        case (_, .list):
            var texts = Column(.string)
            for i in 0..<column.count {
                // A text fits a column of texts.
                try? texts.append(column.isValid(i) ? .string(String(decoding: JSON(column[i]).bytes, as: UTF8.self)) : .null)
            }
            (datatype, shape, elements) = (.bytes, [column.count], texts)
        default: (datatype, shape, elements) = (Datatype(of: column.type), [column.count], column)
        }
    }

    private static func isEven(_ offsets: [Int]) -> Bool {
        guard offsets.count > 2 else { return true }
        return offsets.indices.dropFirst().allSatisfy { offsets[$0] - offsets[$0 - 1] == offsets[1] }
    }

    /// The elements with commas between them.
    /// - Throws: `invalidArgument` for bytes that are no text, which JSON cannot hold.
    func writeJSON(to out: inout [UInt8]) throws(KeelError) {
        for i in 0..<elements.count {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            switch elements.buffer {
            case .float32(let v) where elements.isValid(i) && v[i].isFinite: out.append(contentsOf: v[i].description.utf8)
            case .float64(let v) where elements.isValid(i) && v[i].isFinite: out.append(contentsOf: v[i].description.utf8)
            case .text(let v) where elements.type == .bytes && elements.isValid(i):
                guard let text = v.bytes(i).withUnsafeBufferPointer({ $0.utf8Text }) else {
                    throw .invalid("the output holds bytes that are no text", hint: "ask for it as binary data: parameters.binary_data")
                }
                JSON.write(string: text, to: &out)
            default: JSON(elements[i]).write(to: &out)
            }
        }
    }

    /// The elements little-endian, each text with its length in 4 bytes before it.
    package func writeBinary(to out: inout [UInt8]) {
        func add<Integer: FixedWidthInteger>(_ value: Integer) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
        for i in 0..<elements.count {
            switch (elements.buffer, elements.type) {
            case (.bool(let v), _): out.append(v[i] && elements.isValid(i) ? 1 : 0)
            case (.int32(let v), .int32): add(elements.isValid(i) ? v[i] : 0)
            case (.int64(let v), .int64): add(elements.isValid(i) ? v[i] : 0)
            case (.float32(let v), _): add((elements.isValid(i) ? v[i] : .nan).bitPattern)
            case (.float64(let v), _): add((elements.isValid(i) ? v[i] : .nan).bitPattern)
            case (.text(let v), _):
                add(UInt32(v.bytes(i).count))
                out.append(contentsOf: v.bytes(i))
            default:
                let text = elements[i].description
                add(UInt32(text.utf8.count))
                out.append(contentsOf: text.utf8)
            }
        }
    }
}

import Contracts

/// The elements of one input on their way into a typed column. Every value must fit its datatype; null, and NaN in binary data, is a missing one.
package enum TensorColumn {
    /// Of one text.
    private static let textBytesMax = 1 << 20

    /// Reads flat or nested JSON `data`.
    /// - Parameter count: how many elements are said to be there.
    /// - Returns: the elements one after another, and the lengths of the lists they were nested in, outermost first; nil when they are flat.
    /// - Throws: an error whose path begins with the element: `data[3]`.
    static func json(_ type: Datatype, count: Int, _ scanner: inout JSONScanner) throws(KeelError) -> (column: Column, nesting: [Int]?) {
        var validity: Bitmap?
        func mark(_ valid: Bool, at row: Int) {
            if !valid, validity == nil { validity = Bitmap(repeating: true, count: row) }
            validity?.append(valid)
        }
        // Each takes two bytes at least: what is said to be there need not be true.
        let capacity = min(count, (scanner.bytes.count - scanner.position) / 2)
        let nesting: [Int]?
        switch type {
        case .fp16, .bf16, .fp32, .fp64:
            var values: [Double] = []
            values.reserveCapacity(capacity)
            let largest = type.magnitudeMax ?? .greatestFiniteMagnitude
            nesting = try elements(&scanner) { scanner, token throws(KeelError) in
                guard token == .number else {
                    try missing(&scanner, token, type)
                    mark(false, at: values.count)
                    return values.append(.nan)
                }
                let value = try scanner.number()
                guard value.magnitude <= largest else { throw misfit("\(value)", type) }
                mark(true, at: values.count)
                values.append(value)
            }
            return (Column(.float64, .float64(values), validity: validity), nesting)
        case .bool:
            var values: [Bool] = []
            values.reserveCapacity(capacity)
            nesting = try elements(&scanner) { scanner, token throws(KeelError) in
                guard token == .literal else { throw wrong(token, "true or false", type) }
                let isMissing = try scanner.null()
                mark(!isMissing, at: values.count)
                values.append(isMissing ? false : try scanner.bool())
            }
            return (Column(.bool, .bool(values), validity: validity), nesting)
        case .bytes:
            var values = TextBuffer()
            nesting = try elements(&scanner) { scanner, token throws(KeelError) in
                guard token == .string else {
                    try missing(&scanner, token, type)
                    mark(false, at: values.count)
                    return values.append("")
                }
                mark(true, at: values.count)
                try scanner.stringBytes { text throws(KeelError) in
                    guard text.isASCII || String(validating: text, as: UTF8.self) != nil else { throw .invalid("is not valid UTF-8") }
                    try append(text, to: &values)
                }
            }
            return (Column(.string, .text(values), validity: validity), nesting)
        default:
            let range = type.integers ?? .min ... .max
            var values: [Int64] = []
            values.reserveCapacity(capacity)
            nesting = try elements(&scanner) { scanner, token throws(KeelError) in
                guard token == .number else {
                    try missing(&scanner, token, type)
                    mark(false, at: values.count)
                    return values.append(0)
                }
                let (number, integer) = try scanner.numberOrInteger()
                // From 2⁵³ on a number with a fraction or an exponent may be another than was written.
                guard let value = integer ?? (number.magnitude < 9_007_199_254_740_992 ? Int64(exactly: number) : nil), range.contains(value) else {
                    throw misfit(integer.map(String.init) ?? "\(number)", type)
                }
                mark(true, at: values.count)
                values.append(value)
            }
            return (Column(.int64, .int64(values), validity: validity), nesting)
        }
    }

    /// Reads `rows` elements as Triton's binary tensor extension has them: little-endian, texts with their length in 4 bytes before them.
    package static func binary(_ type: Datatype, rows: Int, _ bytes: UnsafeRawBufferPointer) throws(KeelError) -> Column {
        guard let size = type.size else { return try texts(rows: rows, bytes) }
        guard bytes.count == rows * size else {
            throw .invalid(
                "\(rows) values of \(type.rawValue) have \(rows * size) bytes, not \(bytes.count)", path: "parameters.binary_data_size")
        }
        func integers<Integer: FixedWidthInteger>(_: Integer.Type) throws(KeelError) -> Column {
            var values: [Int64] = []
            values.reserveCapacity(rows)
            for row in 0..<rows {
                let value = Integer(littleEndian: bytes.loadUnaligned(fromByteOffset: row * size, as: Integer.self))
                guard let exact = Int64(exactly: value) else { throw misfit("\(value)", type).at("data[\(row)]") }
                values.append(exact)
            }
            return Column(.int64, .int64(values))
        }
        func floats(_ value: (Int) -> Double) throws(KeelError) -> Column {
            var values: [Double] = []
            values.reserveCapacity(rows)
            for row in 0..<rows {
                values.append(value(row))
                guard !values[row].isInfinite else { throw misfit("\(values[row])", type).at("data[\(row)]") }
            }
            guard values.contains(where: \.isNaN) else { return Column(.float64, .float64(values)) }
            var validity = Bitmap()
            for value in values { validity.append(!value.isNaN) }
            return Column(.float64, .float64(values), validity: validity)
        }
        switch type {
        case .bool:
            for row in 0..<rows where bytes[row] > 1 { throw misfit("\(bytes[row])", type).at("data[\(row)]") }
            return Column(.bool, .bool(bytes.map { $0 == 1 }))
        case .uint8: return try integers(UInt8.self)
        case .uint16: return try integers(UInt16.self)
        case .uint32: return try integers(UInt32.self)
        case .uint64: return try integers(UInt64.self)
        case .int8: return try integers(Int8.self)
        case .int16: return try integers(Int16.self)
        case .int32: return try integers(Int32.self)
        case .int64, .bytes: return try integers(Int64.self)
        case .fp16:
            return try floats {
                Double(Float16(bitPattern: UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self))))
            }
        case .bf16:
            return try floats {
                let high = UInt32(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)))
                return Double(Float(bitPattern: high << 16))
            }
        case .fp32:
            return try floats {
                Double(Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self))))
            }
        case .fp64:
            return try floats { Double(bitPattern: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self))) }
        }
    }

    private static func texts(rows: Int, _ bytes: UnsafeRawBufferPointer) throws(KeelError) -> Column {
        var values = TextBuffer()
        var isText = true
        var at = 0
        for row in 0..<rows {
            guard bytes.count - at >= 4 else { throw .invalid("the binary data ends before this value", path: "data[\(row)]") }
            let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
            at += 4
            guard bytes.count - at >= length else { throw .invalid("the binary data ends within this value", path: "data[\(row)]") }
            let text = UnsafeRawBufferPointer(rebasing: bytes[at..<at + length]).bindMemory(to: UInt8.self)
            do throws(KeelError) { try append(text, to: &values) } catch { throw error.at("data[\(row)]") }
            isText = isText && (text.isASCII || String(validating: text, as: UTF8.self) != nil)
            at += length
        }
        guard at == bytes.count else {
            throw .invalid("\(rows) values take \(at) bytes, not \(bytes.count)", path: "parameters.binary_data_size")
        }
        // Bytes of any kind, unless all of them are texts: an input of texts refuses others.
        return Column(isText ? .string : .bytes, .text(values))
    }

    // MARK: Elements

    /// Calls `body` with each element and what kind of JSON it is. Lists may be nested as long as all on one level are of one length.
    /// - Returns: the lengths by level, outermost first; nil of a flat list.
    private static func elements(
        _ scanner: inout JSONScanner, _ body: (inout JSONScanner, JSONScanner.Token) throws(KeelError) -> Void
    ) throws(KeelError) -> [Int]? {
        var inner: [Int] = []
        var depth: Int?
        let count = try level(&scanner, 0, &inner, &depth, body)
        return inner.isEmpty ? nil : [count] + inner
    }

    /// - Parameter inner: the lengths of the lists within the outermost one, by level.
    /// - Returns: the length of this list.
    private static func level(
        _ scanner: inout JSONScanner, _ level: Int, _ inner: inout [Int], _ depth: inout Int?,
        _ body: (inout JSONScanner, JSONScanner.Token) throws(KeelError) -> Void
    ) throws(KeelError) -> Int {
        var count = 0
        guard level < levelsMax else { throw .invalid("is nested more than \(levelsMax) levels") }
        let isFirst = inner.count < level
        if isFirst { inner.append(0) }
        try scanner.array { scanner throws(KeelError) in
            do throws(KeelError) {
                let token: JSONScanner.Token
                do throws(KeelError) { token = try scanner.peek() } catch {
                    throw .invalid("must be a JSON value", hint: "JSON has no NaN and no Infinity: send null for a missing value")
                }
                if token == .array {
                    guard depth == nil || level + 1 < depth ?? 0 else { throw .invalid("is nested unlike the element before it") }
                    _ = try TensorColumn.level(&scanner, level + 1, &inner, &depth, body)
                } else {
                    guard depth == nil || depth == level + 1 else { throw .invalid("is nested unlike the element before it") }
                    depth = level + 1
                    try body(&scanner, token)
                }
            } catch { throw error.at(level == 0 ? "data[\(count)]" : "[\(count)]") }
            count += 1
        }
        guard level > 0 else { return count }
        guard isFirst || inner[level - 1] == count else {
            throw .invalid("holds \(count) values, the list before it \(inner[level - 1])")
        }
        inner[level - 1] = count
        return count
    }

    /// Of nested data: as many dimensions as a tensor may have.
    private static let levelsMax = 8

    /// Consumes a null, or says what is wrong.
    private static func missing(_ scanner: inout JSONScanner, _ token: JSONScanner.Token, _ type: Datatype) throws(KeelError) {
        guard token == .literal, try scanner.null() else { throw wrong(token, type == .bytes ? "a text" : "a number", type) }
    }

    private static func append(_ text: UnsafeBufferPointer<UInt8>, to values: inout TextBuffer) throws(KeelError) {
        guard text.count <= textBytesMax else { throw .invalid("a text of \(text.count) bytes", hint: "texts are limited to 1 MiB") }
        values.append(text)
    }

    private static func misfit(_ value: String, _ type: Datatype) -> KeelError {
        .invalid("\(value.prefix(40)) does not fit in \(type.rawValue)", hint: "it must be \(type.bounds)")
    }

    private static func wrong(_ token: JSONScanner.Token, _ expected: String, _ type: Datatype) -> KeelError {
        let given =
            switch token {
            case .literal: "true or false"
            case .string: "a text"
            case .number: "a number"
            case .object: "an object"
            case .array: "a list"
            case .end: "the end of the body"
            }
        return .invalid("must be \(expected), as \(type.rawValue) says, not \(given)")
    }
}

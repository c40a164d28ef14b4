import Contracts

/// A response of the Open Inference Protocol, read as a table. Nothing in it is believed: names, datatypes, shapes and lengths are compared with what was asked for.
package enum OpenInferenceResponse {
    /// What is wrong with a response, in words that follow the server's name.
    package struct Fault: Error { let words: String }

    /// How large an answer may be: its values as JSON, those of a free dimension as a few thousand, and what stands around them. What a server sends beyond
    /// that is not read: as a tree it would take many times its size.
    package static func bytesMax(_ outputs: [OpenTensor], rows: Int) -> Int {
        var row = 0
        for output in outputs {
            var elements = 1
            for dimension in output.row {
                let (product, isOver) = elements.multipliedReportingOverflow(by: dimension < 0 ? 4096 : dimension)
                guard !isOver, product <= RemoteServer.answerBytesMax else { return RemoteServer.answerBytesMax }
                elements = product
            }
            let bytes = elements * (output.datatype == .bytes ? 64 << 10 : 32)
            row += bytes
        }
        let (all, isOver) = row.multipliedReportingOverflow(by: rows)
        return isOver ? RemoteServer.answerBytesMax : min(RemoteServer.answerBytesMax, RemoteServer.answerBytesMin + all)
    }

    /// - Parameters:
    ///   - headerBytes: the length of the JSON when binary data follow it.
    ///   - outputs: those that were asked for.
    package static func table(_ bytes: [UInt8], headerBytes: Int?, _ outputs: [OpenTensor], rows: Int) throws(Fault) -> Table {
        let length = headerBytes ?? bytes.count
        guard length >= 0, length <= bytes.count else { throw Fault(words: "answered with fewer bytes than it announced") }
        guard let json = try? JSON.parse(Array(bytes[..<length])), let given = json["outputs"]?.array else {
            throw Fault(words: "answered with something that is no answer of the Open Inference Protocol")
        }
        // Binary data stand behind the JSON in the order of the outputs that have them.
        var at = length
        var places: [Range<Int>?] = []
        for item in given {
            guard let size = item["parameters"]?["binary_data_size"]?.integer else {
                places.append(nil)
                continue
            }
            guard size >= 0, size <= Int64(bytes.count - at) else { throw Fault(words: "answered with fewer bytes than it announced") }
            places.append(at..<at + Int(size))
            at += Int(size)
        }
        var pairs: [(name: String, column: Column)] = []
        for output in outputs {
            guard let i = given.firstIndex(where: { $0["name"]?.string == output.name }) else { throw Fault(words: "gave no output '\(output.name)'") }
            pairs.append((output.name, try column(given[i], places[i].map { bytes[$0] }, output, rows: rows)))
        }
        guard let table = try? Table(pairs) else { throw Fault(words: "answered with columns of different lengths") }
        return table
    }

    private static func column(_ json: JSON, _ binary: ArraySlice<UInt8>?, _ output: OpenTensor, rows: Int) throws(Fault) -> Column {
        func wrong(_ what: String) -> Fault { Fault(words: "gave '\(output.name)' \(what)") }
        guard let datatype = json["datatype"]?.string, datatype == output.datatype.rawValue else {
            throw wrong("as \(json["datatype"]?.string?.prefix(40) ?? "no datatype"), and its metadata say \(output.datatype.rawValue)")
        }
        guard let shape = json["shape"]?.array?.map({ $0.integer.flatMap { Int32(exactly: $0) }.map(Int.init) ?? -1 }),
            shape.allSatisfy({ $0 >= 0 }), shape.first == rows
        else { throw wrong("in the shape \(json["shape"]?.text.prefix(60) ?? "none") for \(rows) rows") }
        let row = Array(shape.dropFirst())
        var size = 1
        for dimension in row {
            let (product, isOver) = size.multipliedReportingOverflow(by: dimension)
            guard !isOver, product <= RemoteServer.answerBytesMax else { throw wrong("in the shape \(shape)") }
            size = product
        }
        let count = rows * size
        let values: Column
        if let binary {
            values = try elements(binary, output, count: count)
        } else if let data = json["data"] {
            values = try elements(data, output, count: count)
        } else {
            throw wrong("without data")
        }
        guard case .tensor(_, let declared) = output.type else {
            guard size == 1 else { throw wrong("in the shape \(shape), and one value a row is expected") }
            return values
        }
        guard declared.count == row.count, zip(declared, row).allSatisfy({ $0 == $1 || $0 == -1 }) else {
            throw wrong("in the shape \(shape), and rows of \(declared) are expected")
        }
        return Column(.tensor(values.type, shape: row), .list(offsets: (0...rows).map { $0 * size }, values: values))
    }

    private static func element(_ output: OpenTensor) -> DataType { if case .tensor(let element, _) = output.type { element } else { output.type } }

    // MARK: Binary

    private static func elements(_ bytes: ArraySlice<UInt8>, _ output: OpenTensor, count: Int) throws(Fault) -> Column {
        func wrong(_ what: String) -> Fault { Fault(words: "gave '\(output.name)' \(what)") }
        if output.datatype == .bytes { return try texts(bytes, output, count: count) }
        let width = output.datatype.size ?? 1
        guard bytes.count == count * width else { throw wrong("in \(bytes.count) bytes, and \(count) values take \(count * width)") }
        func load<Integer: FixedWidthInteger>(_ type: Integer.Type) -> [Integer] {
            bytes.withUnsafeBytes { raw in (0..<count).map { Integer(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * width, as: Integer.self)) } }
        }
        switch output.datatype {
        case .bool: return Column(.bool, .bool(load(UInt8.self).map { $0 != 0 }))
        case .int8: return Column(.int32, .int32(load(Int8.self).map(Int32.init)))
        case .int16: return Column(.int32, .int32(load(Int16.self).map(Int32.init)))
        case .int32: return Column(.int32, .int32(load(Int32.self)))
        case .uint8: return Column(.int32, .int32(load(UInt8.self).map(Int32.init)))
        case .uint16: return Column(.int32, .int32(load(UInt16.self).map(Int32.init)))
        case .uint32: return Column(.int64, .int64(load(UInt32.self).map(Int64.init)))
        case .int64: return Column(.int64, .int64(load(Int64.self)))
        case .uint64:
            let all = load(UInt64.self)
            guard all.allSatisfy({ $0 <= Int64.max }) else { throw wrong("with a number above 2⁶³, which Keel has no type for") }
            return Column(.int64, .int64(all.map { Int64($0) }))
        case .fp16: return Column(.float32, .float32(load(UInt16.self).map { Float(Float16(bitPattern: $0)) }))
        case .bf16: return Column(.float32, .float32(load(UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }))
        case .fp32: return Column(.float32, .float32(load(UInt32.self).map { Float(bitPattern: $0) }))
        case .fp64: return Column(.float64, .float64(load(UInt64.self).map { Double(bitPattern: $0) }))
        case .bytes: throw wrong("as bytes")
        }
    }

    private static func texts(_ bytes: ArraySlice<UInt8>, _ output: OpenTensor, count: Int) throws(Fault) -> Column {
        func wrong(_ what: String) -> Fault { Fault(words: "gave '\(output.name)' \(what)") }
        var buffer = TextBuffer()
        var at = bytes.startIndex
        for _ in 0..<count {
            guard bytes.endIndex - at >= 4 else { throw wrong("with fewer texts than \(count)") }
            let length = (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
            at += 4
            guard bytes.endIndex - at >= length else { throw wrong("with a text that is cut off") }
            buffer.append(bytes[at..<at + length])
            at += length
        }
        guard at == bytes.endIndex else { throw wrong("with more bytes than \(count) texts take") }
        if element(output) == .bytes { return Column(.bytes, .text(buffer)) }
        guard (0..<count).allSatisfy({ String(validating: buffer.bytes($0), as: UTF8.self) != nil }) else {
            throw wrong("with bytes that are no text: declare it as bytes in spec.remote.outputs")
        }
        return Column(.string, .text(buffer))
    }

    // MARK: JSON

    private static func elements(_ json: JSON, _ output: OpenTensor, count: Int) throws(Fault) -> Column {
        func wrong(_ what: String) -> Fault { Fault(words: "gave '\(output.name)' \(what)") }
        var flat: [JSON] = []
        flat.reserveCapacity(count)
        try flatten(json, depth: 0, into: &flat, atMost: count, wrong)
        guard flat.count == count else { throw wrong("with \(flat.count) values in place of \(count)") }
        let type = output.datatype.element
        var values: [Value] = []
        values.reserveCapacity(count)
        for item in flat {
            switch (type, item) {
            case (.float32, .null), (.float64, .null): values.append(.double(.nan))
            case (.float32, _), (.float64, _):
                guard let number = item.number else { throw wrong("with \(item.kind) among numbers") }
                values.append(.double(number))
            case (.int32, _), (.int64, _):
                guard let number = item.integer, output.datatype.integers?.contains(number) == true else {
                    throw wrong("with \(item.text.prefix(40)), which is no \(output.datatype.rawValue)")
                }
                values.append(.int(number))
            case (.bool, .bool(let flag)): values.append(.bool(flag))
            case (.string, .string(let text)): values.append(element(output) == .bytes ? .bytes(Array(text.utf8)) : .string(text))
            default: throw wrong("with \(item.kind), which is no \(output.datatype.rawValue)")
            }
        }
        guard let column = try? Column(type == .string ? element(output) : type, values: values) else {
            throw wrong("with values that are no \(output.datatype.rawValue)")
        }
        return column
    }

    private static func flatten(
        _ json: JSON, depth: Int, into out: inout [JSON], atMost count: Int, _ wrong: (String) -> Fault
    ) throws(Fault) {
        guard let items = json.array else {
            guard depth > 0 else { throw wrong("without a list of values") }
            return out.append(json)
        }
        guard depth < 16 else { throw wrong("in lists inside of lists") }
        for item in items {
            if out.count > count { return }
            try flatten(item, depth: depth + 1, into: &out, atMost: count, wrong)
        }
    }
}

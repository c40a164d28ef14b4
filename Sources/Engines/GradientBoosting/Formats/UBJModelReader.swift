import Contracts

/// Universal Binary JSON (ubjson.org, draft 12), as XGBoost writes it: big-endian, lists with their count in front, lists of numbers of one type.
struct UBJModelReader: ModelReader {
    private let bytes: UnsafeRawBufferPointer
    private var place = 0
    private var depth = 0
    private static let depthMax = 128

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = UnsafeRawBufferPointer(bytes) }

    func failure(_ message: String) -> KeelError { .invalid("\(message) at byte \(place)") }

    mutating func expectEnd() throws(KeelError) {
        guard place == bytes.count else { throw failure("unexpected bytes after the document") }
    }

    mutating func object(_ body: (inout UBJModelReader, String) throws(KeelError) -> Void) throws(KeelError) {
        try expect("{")
        try enter()
        if let (type, count) = try prefix() {
            guard type == nil else { throw failure("an object of one type") }
            for _ in 0..<count {
                let key = try text()
                try body(&self, key)
            }
        } else {
            while !take("}") {
                let key = try text()
                try body(&self, key)
            }
        }
        depth -= 1
    }

    mutating func array(_ body: (inout UBJModelReader) throws(KeelError) -> Void) throws(KeelError) {
        try expect("[")
        try enter()
        if let (type, count) = try prefix() {
            guard type == nil else { throw failure("expected a list of any values") }
            for _ in 0..<count { try body(&self) }
        } else {
            while !take("]") { try body(&self) }
        }
        depth -= 1
    }

    mutating func string() throws(KeelError) -> String {
        try expect("S")
        return try text()
    }

    mutating func integers() throws(KeelError) -> [Int32] {
        try numbers { reader, type throws(KeelError) in
            guard let value = try reader.integer(type), let narrow = Int32(exactly: value) else {
                throw reader.failure("expected a whole number of 32 bits")
            }
            return narrow
        }
    }

    mutating func floats() throws(KeelError) -> [Float] {
        try numbers { reader, type throws(KeelError) in
            switch type {
            case UInt8(ascii: "d"): return Float(bitPattern: UInt32(bigEndian: try reader.load()))
            case UInt8(ascii: "D"): return Float(Double(bitPattern: UInt64(bigEndian: try reader.load())))
            default:
                guard let value = try reader.integer(type) else { throw reader.failure("expected a number") }
                return Float(value)
            }
        }
    }

    /// A list of numbers, of one type or each with its own.
    private mutating func numbers<Number>(
        _ read: (inout UBJModelReader, _ type: UInt8) throws(KeelError) -> Number
    ) throws(KeelError) -> [Number] {
        try expect("[")
        var out: [Number] = []
        guard let (type, count) = try prefix() else {
            while !take("]") { out.append(try read(&self, try byte())) }
            return out
        }
        // Each number takes a byte at least, and `prefix` has seen that there are as many.
        out.reserveCapacity(count)
        for _ in 0..<count {
            if let type { out.append(try read(&self, type)) } else { out.append(try read(&self, try byte())) }
        }
        return out
    }

    mutating func skip() throws(KeelError) {
        guard place < bytes.count else { throw failure("the document ends too early") }
        switch bytes[place] {
        case UInt8(ascii: "{"): try object { reader, _ throws(KeelError) in try reader.skip() }
        case UInt8(ascii: "["): try skipArray()
        case UInt8(ascii: "S"): _ = try string()
        default:
            place += 1
            let size = try size(of: bytes[place - 1])
            try need(size)
            place += size
        }
    }

    private mutating func skipArray() throws(KeelError) {
        try expect("[")
        try enter()
        if let (type, count) = try prefix() {
            if let type {
                // Checked by `prefix`.
                place += count * (try size(of: type))
            } else {
                for _ in 0..<count { try skip() }
            }
        } else {
            while !take("]") { try skip() }
        }
        depth -= 1
    }

    // MARK: - parts

    /// The type (`$`) and count (`#`) that may stand before the elements. As many as it says can be there.
    private mutating func prefix() throws(KeelError) -> (type: UInt8?, count: Int)? {
        var type: UInt8?
        if take("$") {
            type = try byte()
            guard place < bytes.count, bytes[place] == UInt8(ascii: "#") else { throw failure("a type without a count") }
        }
        guard take("#") else { return nil }
        let count = try length()
        if let type, try size(of: type) == 0 { throw failure("a list of a type without values") }
        let (size, overflow) = count.multipliedReportingOverflow(by: try type.map { t throws(KeelError) in try self.size(of: t) } ?? 1)
        guard !overflow else { throw failure("\(count) elements, more than the file has") }
        try need(size)
        return (type, count)
    }

    private mutating func enter() throws(KeelError) {
        depth += 1
        guard depth <= UBJModelReader.depthMax else { throw failure("more than \(UBJModelReader.depthMax) levels of nesting") }
    }

    /// A text without its marker: its length and its UTF-8.
    private mutating func text() throws(KeelError) -> String {
        let count = try length()
        try need(count)
        guard let text = String(validating: bytes[place..<place + count], as: UTF8.self) else {
            throw failure("a text that is not valid UTF-8")
        }
        place += count
        return text
    }

    private mutating func length() throws(KeelError) -> Int {
        guard let value = try integer(try byte()), let count = Int(exactly: value), count >= 0 else { throw failure("expected a length") }
        return count
    }

    /// A whole number of a type; nil for the other types.
    private mutating func integer(_ type: UInt8) throws(KeelError) -> Int64? {
        switch type {
        case UInt8(ascii: "i"): Int64(try load() as Int8)
        case UInt8(ascii: "U"): Int64(try load() as UInt8)
        case UInt8(ascii: "I"): Int64(Int16(bigEndian: try load()))
        case UInt8(ascii: "l"): Int64(Int32(bigEndian: try load()))
        case UInt8(ascii: "L"): Int64(bigEndian: try load())
        case UInt8(ascii: "T"): 1
        case UInt8(ascii: "F"): 0
        default: nil
        }
    }

    /// Bytes after the marker of a value that is no container and no text.
    private func size(of type: UInt8) throws(KeelError) -> Int {
        switch type {
        case UInt8(ascii: "Z"), UInt8(ascii: "T"), UInt8(ascii: "F"), UInt8(ascii: "N"): return 0
        case UInt8(ascii: "i"), UInt8(ascii: "U"), UInt8(ascii: "C"): return 1
        case UInt8(ascii: "I"): return 2
        case UInt8(ascii: "l"), UInt8(ascii: "d"): return 4
        case UInt8(ascii: "L"), UInt8(ascii: "D"): return 8
        default: throw failure("an unknown type of value")
        }
    }

    private func need(_ count: Int) throws(KeelError) {
        guard count <= bytes.count - place else { throw failure("the document ends too early: \(count) bytes should follow") }
    }

    private mutating func load<Number: BitwiseCopyable>() throws(KeelError) -> Number {
        try need(MemoryLayout<Number>.size)
        defer { place += MemoryLayout<Number>.size }
        return bytes.loadUnaligned(fromByteOffset: place, as: Number.self)
    }

    private mutating func byte() throws(KeelError) -> UInt8 { try load() }

    private mutating func take(_ marker: Unicode.Scalar) -> Bool {
        guard place < bytes.count, bytes[place] == UInt8(ascii: marker) else { return false }
        place += 1
        return true
    }

    private mutating func expect(_ marker: Unicode.Scalar) throws(KeelError) {
        guard take(marker) else { throw failure("expected '\(marker)'") }
    }
}

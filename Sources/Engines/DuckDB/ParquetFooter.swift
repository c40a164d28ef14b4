import Contracts

/// The footer of a Parquet file from outside, looked through before DuckDB reads it.
///
/// DuckDB follows a schema as deep as it says it is, and a footer of two megabytes can nest columns so deep that a thread's stack does not hold the way
/// down. Footers are structs of Thrift's compact protocol (Apache Thrift, "Thrift compact protocol encoding"); fields as in `parquet.thrift`.
package struct ParquetFooter {
    /// How deep columns may lie in each other.
    static let levelsMax = 100
    private static let bytesMax = 64 << 20
    /// How deep structs and lists of a footer may lie in each other; those of the format do not go beyond ten.
    private static let nestingMax = 32
    private static let mark = Array("PAR1".utf8)

    private let bytes: [UInt8]
    private let name: String
    private var at = 0

    /// Looks through the footer of a file. What is no Parquet at all is left to DuckDB.
    /// - Throws: `corrupted`, and `payloadTooLarge` for a footer that no file needs.
    package static func check(path: String, name: String) throws(KeelError) {
        let file = try InputFile(path: path, name: name)
        guard file.size >= 12 else { return }
        let tail = try file.bytes(at: file.size - 8, count: 8)
        let length = (0..<4).reduce(0) { $0 | Int(tail[$1]) << (8 * $1) }
        guard tail[4...].elementsEqual(mark), length <= file.size - 12 else { return }
        guard length <= bytesMax else {
            throw KeelError(
                .payloadTooLarge, "the footer of '\(name)' has \(length >> 20) MiB, at most \(bytesMax >> 20) are read",
                hint: "write it with larger row groups, or in several files")
        }
        var footer = ParquetFooter(bytes: try file.bytes(at: file.size - 8 - length, count: length), name: name)
        try footer.checkMetadata()
    }

    private init(bytes: [UInt8], name: String) {
        self.bytes = bytes
        self.name = name
    }

    private func damaged(_ what: String) -> KeelError {
        KeelError(.corrupted, "'\(name)' is not readable Parquet: \(what)", hint: "copy or download the file again")
    }

    private mutating func checkMetadata() throws(KeelError) {
        var field = 0
        while let type = try nextField(&field) {
            if field == 2, type == .list { try checkSchema() } else { try skip(type, depth: 1) }
        }
    }

    /// The tree of columns, parents first: each element says how many of those that follow are its children.
    private mutating func checkSchema() throws(KeelError) {
        let (type, count) = try listHead()
        guard type == .structure else { throw damaged("its schema is no list of columns") }
        var open: [Int] = []
        for _ in 0..<count {
            let children = try childCount()
            if let last = open.indices.last { open[last] -= 1 }
            if children > 0 { open.append(children) }
            while open.last == 0 { open.removeLast() }
            guard open.count <= ParquetFooter.levelsMax else {
                throw damaged("its columns lie in each other more than \(ParquetFooter.levelsMax) deep")
            }
        }
    }

    private mutating func childCount() throws(KeelError) -> Int {
        var children = 0
        var field = 0
        while let type = try nextField(&field) {
            guard field == 5, type == .i32 else {
                try skip(type, depth: 2)
                continue
            }
            let value = try varint()
            children = Int(truncatingIfNeeded: Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1))
            guard (0...Int(Int32.max)).contains(children) else { throw damaged("a column has \(children) columns in it") }
        }
        return children
    }

    // MARK: Thrift

    private enum Kind: UInt8 {
        case yes = 1
        case no, byte, i16, i32, i64, double, binary, list, set, map, structure, uuid
    }

    private mutating func byte() throws(KeelError) -> UInt8 {
        guard at < bytes.count else { throw damaged("its footer ends too early") }
        defer { at += 1 }
        return bytes[at]
    }

    private mutating func varint() throws(KeelError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = try byte()
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw damaged("a number in its footer never ends")
    }

    /// How many things follow, each of which has at least a byte.
    private mutating func count() throws(KeelError) -> Int {
        let count = try varint()
        guard count <= UInt64(bytes.count - at) else { throw damaged("its footer holds less than it says") }
        return Int(count)
    }

    private func kind(_ code: UInt8) throws(KeelError) -> Kind {
        guard let kind = Kind(rawValue: code) else { throw damaged("its footer holds a value of no known type") }
        return kind
    }

    /// Nil at the end of a struct.
    private mutating func nextField(_ field: inout Int) throws(KeelError) -> Kind? {
        let head = try byte()
        guard head != 0 else { return nil }
        if head >> 4 == 0 {
            let number = try varint()
            field = Int(truncatingIfNeeded: Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1))
        } else {
            field &+= Int(head >> 4)
        }
        return try kind(head & 15)
    }

    private mutating func listHead() throws(KeelError) -> (Kind, Int) {
        let head = try byte()
        let short = Int(head >> 4)
        // An empty list may have elements of no type.
        if short == 0 { return (.byte, 0) }
        let type = try kind(head & 15)
        guard short < 15 else { return (type, try count()) }
        guard short <= bytes.count - at else { throw damaged("its footer holds less than it says") }
        return (type, short)
    }

    private mutating func move(_ count: Int) throws(KeelError) {
        guard count <= bytes.count - at else { throw damaged("its footer ends too early") }
        at += count
    }

    /// - Parameter isElement: whether the value stands in a list or a map, where truth takes a byte.
    private mutating func skip(_ type: Kind, depth: Int, isElement: Bool = false) throws(KeelError) {
        guard depth < ParquetFooter.nestingMax else { throw damaged("its footer is nested too deep") }
        switch type {
        case .yes, .no: if isElement { try move(1) }
        case .byte: try move(1)
        case .i16, .i32, .i64: _ = try varint()
        case .double: try move(8)
        case .uuid: try move(16)
        case .binary: try move(try count())
        case .list, .set:
            let (element, count) = try listHead()
            for _ in 0..<count { try skip(element, depth: depth + 1, isElement: true) }
        case .map:
            let count = try count()
            guard count > 0 else { return }
            let types = try byte()
            let key = try kind(types >> 4)
            let value = try kind(types & 15)
            for _ in 0..<count {
                try skip(key, depth: depth + 1, isElement: true)
                try skip(value, depth: depth + 1, isElement: true)
            }
        case .structure:
            var field = 0
            while let inner = try nextField(&field) { try skip(inner, depth: depth + 1) }
        }
    }
}

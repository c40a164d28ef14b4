/// Texts or byte strings, one after another in one buffer.
public struct TextBuffer: Sendable, Hashable {
    /// `count + 1` positions in `bytes`.
    public private(set) var offsets: [Int]
    public private(set) var bytes: [UInt8]

    public init() { (offsets, bytes) = ([0], []) }

    /// - Precondition: `offsets` starts with 0, never falls, and ends with the number of bytes.
    public init(offsets: [Int], bytes: [UInt8]) {
        precondition(offsets.first == 0 && offsets.last == bytes.count, "the offsets must span the bytes")
        (self.offsets, self.bytes) = (offsets, bytes)
    }

    public var count: Int { offsets.count - 1 }

    public mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        offsets.append(bytes.count)
    }
    public mutating func append(_ part: UnsafeBufferPointer<UInt8>) {
        bytes.append(contentsOf: part)
        offsets.append(bytes.count)
    }
    public mutating func append(_ part: ArraySlice<UInt8>) {
        bytes.append(contentsOf: part)
        offsets.append(bytes.count)
    }

    public func bytes(_ i: Int) -> ArraySlice<UInt8> { bytes[offsets[i]..<offsets[i + 1]] }
    public subscript(i: Int) -> String { String(decoding: bytes(i), as: UTF8.self) }
}

/// A typed, contiguous buffer of values with a validity bitmap.
///
/// A row without a value has an arbitrary one in the buffer (zero or empty) and a clear bit.
public struct Column: Sendable, Hashable {
    public enum Buffer: Sendable, Hashable {
        case bool([Bool])
        /// `int32` and `date` (days since 1970).
        case int32([Int32])
        /// `int64` and `timestamp` (µs since 1970).
        case int64([Int64])
        case float32([Float])
        case float64([Double])
        /// `string` and `bytes`.
        case text(TextBuffer)
        /// `list` and `tensor`: row i holds `values[offsets[i]..<offsets[i + 1]]`.
        indirect case list(offsets: [Int], values: Column)

        public var count: Int {
            switch self {
            case .bool(let v): v.count
            case .int32(let v): v.count
            case .int64(let v): v.count
            case .float32(let v): v.count
            case .float64(let v): v.count
            case .text(let v): v.count
            case .list(let offsets, _): offsets.count - 1
            }
        }
    }

    public let type: DataType
    public private(set) var buffer: Buffer
    /// Nil when every row has a value.
    public private(set) var validity: Bitmap?

    public var count: Int { buffer.count }
    public var nullCount: Int { validity.map { $0.count - $0.setCount } ?? 0 }

    /// - Precondition: the buffer's case fits the type and the bitmap has as many rows.
    public init(_ type: DataType, _ buffer: Buffer, validity: Bitmap? = nil) {
        precondition(Column.fits(type, buffer), "a \(type) column cannot hold this buffer")
        precondition(
            validity.map { $0.count == buffer.count } ?? true, "validity has \(validity?.count ?? 0) rows, the buffer \(buffer.count)")
        self.type = type
        self.buffer = buffer
        self.validity = validity.flatMap { $0.setCount == $0.count ? nil : $0 }
    }

    /// An empty column to append to.
    public init(_ type: DataType) {
        self.type = type
        validity = nil
        switch type {
        case .bool: buffer = .bool([])
        case .int32, .date: buffer = .int32([])
        case .int64, .timestamp: buffer = .int64([])
        case .float32: buffer = .float32([])
        case .float64: buffer = .float64([])
        case .string, .bytes: buffer = .text(TextBuffer())
        case .list(let element), .tensor(let element, _): buffer = .list(offsets: [0], values: Column(element))
        }
    }

    /// Builds a column from values; a value that does not fit the type is an error that names the row.
    public init(_ type: DataType, values: some Sequence<Value>) throws(KeelError) {
        self.init(type)
        for value in values { try append(value) }
    }

    public func isValid(_ i: Int) -> Bool { validity.map { $0[i] } ?? true }

    public subscript(i: Int) -> Value {
        guard isValid(i) else { return .null }
        switch buffer {
        case .bool(let v): return .bool(v[i])
        case .int32(let v): return type == .date ? .date(v[i]) : .int(Int64(v[i]))
        case .int64(let v): return type == .timestamp ? .timestamp(Timestamp(microseconds: v[i])) : .int(v[i])
        case .float32(let v): return .double(Double(v[i]))
        case .float64(let v): return .double(v[i])
        case .text(let v): return type == .bytes ? .bytes(Array(v.bytes(i))) : .string(v[i])
        case .list(let offsets, let values): return .list((offsets[i]..<offsets[i + 1]).map { values[$0] })
        }
    }

    /// Appends one value; integers widen to floats, nothing narrows. On an error the column is as before.
    public mutating func append(_ value: Value) throws(KeelError) {
        do throws(KeelError) { try type.check(value) } catch { throw error.at("[\(count)]") }
        appendChecked(value)
    }

    /// Appends a value that `type.check` accepts.
    mutating func appendChecked(_ value: Value) {
        if value.isNull {
            appendNull()
            return
        }
        // The buffer is moved out while it grows: a second reference would make every append copy the whole column.
        var taken = Buffer.bool([])
        swap(&taken, &buffer)
        if case .list = taken {
            var (offsets, values) = Column.listParts(taken)
            taken = .bool([])
            if case .list(let items) = value { for item in items { values.appendChecked(item) } }
            offsets.append(values.count)
            buffer = .list(offsets: offsets, values: values)
            validity?.append(true)
            return
        }
        switch consume taken {
        case .bool(var v):
            if case .bool(let x) = value { v.append(x) }
            buffer = .bool(v)
        case .int32(var v):
            if case .date(let x) = value { v.append(x) } else if case .int(let x) = value { v.append(Int32(truncatingIfNeeded: x)) }
            buffer = .int32(v)
        case .int64(var v):
            if case .timestamp(let x) = value { v.append(x.microseconds) } else if case .int(let x) = value { v.append(x) }
            buffer = .int64(v)
        case .float32(var v):
            v.append(Float(value.number ?? .nan))
            buffer = .float32(v)
        case .float64(var v):
            v.append(value.number ?? .nan)
            buffer = .float64(v)
        case .text(var v):
            if case .string(let x) = value { v.append(x) } else if case .bytes(let x) = value { v.append(x[...]) }
            buffer = .text(v)
        case .list: break
        }
        validity?.append(true)
    }

    /// The parts of a list buffer apart from the box that an indirect case lies in: with the box gone they are the only references.
    private static func listParts(_ buffer: Buffer) -> (offsets: [Int], values: Column) {
        if case .list(let offsets, let values) = buffer { (offsets, values) } else { ([0], Column(.bool)) }
    }

    public mutating func appendNull() {
        if validity == nil { validity = Bitmap(repeating: true, count: count) }
        var taken = Buffer.bool([])
        swap(&taken, &buffer)
        if case .list = taken {
            var parts = Column.listParts(taken)
            taken = .bool([])
            parts.offsets.append(parts.values.count)
            buffer = .list(offsets: parts.offsets, values: parts.values)
            validity?.append(false)
            return
        }
        switch consume taken {
        case .bool(var v):
            v.append(false)
            buffer = .bool(v)
        case .int32(var v):
            v.append(0)
            buffer = .int32(v)
        case .int64(var v):
            v.append(0)
            buffer = .int64(v)
        case .float32(var v):
            v.append(.nan)
            buffer = .float32(v)
        case .float64(var v):
            v.append(.nan)
            buffer = .float64(v)
        case .text(var v):
            v.append("")
            buffer = .text(v)
        case .list: break
        }
        validity?.append(false)
    }

    /// The rows at `rows`, in that order.
    public func taking(_ rows: [Int]) -> Column {
        func pick<T>(_ v: [T]) -> [T] { rows.map { v[$0] } }
        let taken: Buffer
        switch buffer {
        case .bool(let v): taken = .bool(pick(v))
        case .int32(let v): taken = .int32(pick(v))
        case .int64(let v): taken = .int64(pick(v))
        case .float32(let v): taken = .float32(pick(v))
        case .float64(let v): taken = .float64(pick(v))
        case .text(let v):
            var out = TextBuffer()
            for row in rows { out.append(v.bytes(row)) }
            taken = .text(out)
        case .list(let offsets, let values):
            var (starts, picked) = ([0], [Int]())
            for row in rows {
                picked.append(contentsOf: offsets[row]..<offsets[row + 1])
                starts.append(picked.count)
            }
            taken = .list(offsets: starts, values: values.taking(picked))
        }
        guard let validity else { return Column(type, taken) }
        var bits = Bitmap()
        for row in rows { bits.append(validity[row]) }
        return Column(type, taken, validity: bits)
    }

    /// The rows of `range`.
    public func rows(_ range: Range<Int>) -> Column {
        let part: Buffer
        switch buffer {
        case .bool(let v): part = .bool(Array(v[range]))
        case .int32(let v): part = .int32(Array(v[range]))
        case .int64(let v): part = .int64(Array(v[range]))
        case .float32(let v): part = .float32(Array(v[range]))
        case .float64(let v): part = .float64(Array(v[range]))
        case .text(let v):
            let start = v.offsets[range.lowerBound]
            part = .text(
                TextBuffer(
                    offsets: v.offsets[range.lowerBound...range.upperBound].map { $0 - start },
                    bytes: Array(v.bytes[start..<v.offsets[range.upperBound]])))
        case .list(let offsets, let values):
            let start = offsets[range.lowerBound]
            part = .list(
                offsets: offsets[range.lowerBound...range.upperBound].map { $0 - start }, values: values.rows(start..<offsets[range.upperBound]))
        }
        guard let validity else { return Column(type, part) }
        var bits = Bitmap()
        for i in range { bits.append(validity[i]) }
        return Column(type, part, validity: bits)
    }

    /// The rows of columns one after another.
    /// - Precondition: there is one, and all have the type of the first.
    public init(joining columns: [Column]) {
        let buffers = columns.map(\.buffer)
        func parts<T>(_ values: (Buffer) -> [T]?) -> [T] { buffers.flatMap { values($0) ?? [] } }
        let joined: Buffer
        switch buffers[0] {
        case .bool: joined = .bool(parts { if case .bool(let v) = $0 { v } else { nil } })
        case .int32: joined = .int32(parts { if case .int32(let v) = $0 { v } else { nil } })
        case .int64: joined = .int64(parts { if case .int64(let v) = $0 { v } else { nil } })
        case .float32: joined = .float32(parts { if case .float32(let v) = $0 { v } else { nil } })
        case .float64: joined = .float64(parts { if case .float64(let v) = $0 { v } else { nil } })
        case .text:
            var offsets = [0]
            var bytes: [UInt8] = []
            for case .text(let part) in buffers {
                let start = bytes.count
                offsets.append(contentsOf: part.offsets.dropFirst().lazy.map { $0 + start })
                bytes.append(contentsOf: part.bytes)
            }
            joined = .text(TextBuffer(offsets: offsets, bytes: bytes))
        case .list:
            var offsets = [0]
            var parts: [Column] = []
            for case .list(let ends, let values) in buffers {
                let start = offsets[offsets.count - 1]
                offsets.append(contentsOf: ends.dropFirst().lazy.map { $0 + start })
                parts.append(values)
            }
            joined = .list(offsets: offsets, values: Column(joining: parts))
        }
        guard columns.contains(where: { $0.validity != nil }) else {
            self.init(columns[0].type, joined)
            return
        }
        var bits = Bitmap()
        for column in columns { for i in 0..<column.count { bits.append(column.isValid(i)) } }
        self.init(columns[0].type, joined, validity: bits)
    }

    /// Numbers as float64 with NaN for null; booleans are 0 and 1, instants µs. Nil for texts and lists.
    public func doubles() -> [Double]? {
        var out: [Double]
        switch buffer {
        case .bool(let v): out = v.map { $0 ? 1 : 0 }
        case .int32(let v): out = v.map(Double.init)
        case .int64(let v): out = v.map(Double.init)
        case .float32(let v): out = v.map(Double.init)
        case .float64(let v): out = v
        case .text, .list: return nil
        }
        if let validity { for i in out.indices where !validity[i] { out[i] = .nan } }
        return out
    }

    private static func fits(_ type: DataType, _ buffer: Buffer) -> Bool {
        switch (type, buffer) {
        case (.bool, .bool), (.int32, .int32), (.date, .int32), (.int64, .int64), (.timestamp, .int64), (.float32, .float32),
            (.float64, .float64), (.string, .text), (.bytes, .text):
            true
        case (.list(let element), .list(_, let values)), (.tensor(let element, _), .list(_, let values)): values.type == element
        default: false
        }
    }
}

import Contracts
import Foundation

/// Builds a typed column from the bytes of fields, without a `String` for each.
final class ColumnBuilder {
    let type: DataType
    private var bools: [Bool] = []
    private var int32s: [Int32] = []
    private var int64s: [Int64] = []
    private var float32s: [Float] = []
    private var float64s: [Double] = []
    private var offsets: [Int]
    private var bytes: [UInt8] = []
    /// Only kept from the first null on.
    private var validity: [UInt64] = []
    private var nulls = 0
    private(set) var count = 0
    private var zone: ClockZone?

    init(_ type: DataType, zone: String? = nil) {
        self.type = type
        self.zone = zone.flatMap { ClockZone($0) }
        offsets = type == .string || type == .bytes ? [0] : []
    }

    /// Appends the value that `text` spells.
    /// - Returns: nil, or what is wrong, as the end of "column 'x': …"; then nothing was appended.
    func append(text: UnsafeBufferPointer<UInt8>) -> String? {
        switch type {
        case .string:
            guard isUTF8(text) else { return "text that is not valid UTF-8" }
            bytes.append(contentsOf: text)
            offsets.append(bytes.count)
        case .bytes:
            bytes.append(contentsOf: text)
            offsets.append(bytes.count)
        case .int64:
            guard let value = NumberText.integer(text) else { return misfit(text) }
            int64s.append(value)
        case .int32:
            guard let wide = NumberText.integer(text), let value = Int32(exactly: wide) else { return misfit(text) }
            int32s.append(value)
        case .float64, .float32:
            guard let value = NumberText.double(text) else { return misfit(text) }
            if value.isNaN {
                appendNull()
                return nil
            }
            let narrow = type == .float32 ? NumberText.float(text, value) : 0
            guard value.isFinite, narrow.isFinite else { return "\(shown(text)) is not a finite number" }
            // What is written as a whole number is one: an id, a count. Another number in its place would be wrong.
            if NumberText.isLongInteger(text), !holds(text, value, narrow) { return misfit(text) }
            if type == .float32 { float32s.append(narrow) } else { float64s.append(value) }
        case .bool:
            guard let value = NumberText.bool(text) else { return misfit(text) }
            bools.append(value)
        case .timestamp:
            guard let value = Timestamp.parse(text), let instant = instant(value, hasZone: NumberText.hasZone(text)) else {
                return misfit(text)
            }
            int64s.append(instant.microseconds)
        case .date:
            guard let value = CivilDate.parse(text) else { return misfit(text) }
            int32s.append(value)
        case .list, .tensor: return "a \(type) cannot be read from text"
        }
        mark(true)
        return nil
    }

    /// Appends an exact number.
    /// - Returns: false when the type does not hold it; then nothing was appended.
    func append(decimal text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard type == .float64 || type == .float32 else { return append(text: text) == nil }
        guard let value = NumberText.double(text) else { return false }
        let narrow = NumberText.float(text, value)
        guard holds(text, value, narrow) else { return false }
        if type == .float32 { float32s.append(narrow) } else { float64s.append(value) }
        mark(true)
        return true
    }

    private func holds(_ text: UnsafeBufferPointer<UInt8>, _ value: Double, _ narrow: Float) -> Bool {
        type == .float32
            ? narrow.isFinite && NumberText.same(text, Double(narrow), narrow.description)
            : value.isFinite && NumberText.same(text, value, value.description)
    }

    /// Appends a JSON number.
    func append(number: Double, integer: Int64?) -> String? {
        switch type {
        case .int64:
            guard let value = integer ?? Int64(exactly: number) else { return "\(number) is not an int64" }
            int64s.append(value)
        case .int32:
            guard let value = (integer ?? Int64(exactly: number)).flatMap({ Int32(exactly: $0) }) else {
                return "\(number) is not an int32"
            }
            int32s.append(value)
        case .float64:
            if let integer, Double(exactly: integer) == nil { return "\(integer) is not a float64" }
            float64s.append(number)
        case .float32:
            if let integer, Float(exactly: integer) == nil { return "\(integer) is not a float32" }
            guard Float(number).isFinite else { return "\(number) does not fit in float32" }
            float32s.append(Float(number))
        default: return "a number is not a \(type)"
        }
        mark(true)
        return nil
    }

    func append(bool: Bool) -> String? {
        guard type == .bool else { return "\(bool) is not a \(type)" }
        bools.append(bool)
        mark(true)
        return nil
    }

    func appendNull() {
        switch type {
        case .bool: bools.append(false)
        case .int32, .date: int32s.append(0)
        case .int64, .timestamp: int64s.append(0)
        case .float32: float32s.append(.nan)
        case .float64: float64s.append(.nan)
        default: offsets.append(bytes.count)
        }
        nulls += 1
        mark(false)
    }

    /// Takes back the rows from `rows` on.
    func truncate(to rows: Int) {
        let extra = count - rows
        guard extra > 0 else { return }
        if nulls > 0 { for row in rows..<count where validity[row >> 6] >> UInt64(row & 63) & 1 == 0 { nulls -= 1 } }
        switch type {
        case .bool: bools.removeLast(extra)
        case .int32, .date: int32s.removeLast(extra)
        case .int64, .timestamp: int64s.removeLast(extra)
        case .float32: float32s.removeLast(extra)
        case .float64: float64s.removeLast(extra)
        default:
            offsets.removeLast(extra)
            bytes.removeLast(bytes.count - (offsets.last ?? 0))
        }
        if nulls == 0 {
            validity.removeAll(keepingCapacity: true)
        } else {
            validity.removeLast(validity.count - (rows + 63) / 64)
            if rows & 63 != 0 { validity[rows >> 6] &= (UInt64(1) << UInt64(rows & 63)) - 1 }
        }
        count = rows
    }

    /// The rows so far as a column; the builder is empty again.
    func take() -> Column {
        let buffer: Column.Buffer =
            switch type {
            case .bool: .bool(bools)
            case .int32, .date: .int32(int32s)
            case .int64, .timestamp: .int64(int64s)
            case .float32: .float32(float32s)
            case .float64: .float64(float64s)
            default: .text(TextBuffer(offsets: offsets, bytes: bytes))
            }
        let column = Column(type, buffer, validity: nulls == 0 ? nil : Bitmap(words: validity, count: count))
        (bools, int32s, int64s, float32s, float64s, bytes) = ([], [], [], [], [], [])
        (offsets, validity, nulls, count) = (offsets.isEmpty ? [] : [0], [], 0, 0)
        return column
    }

    private func instant(_ clock: Timestamp, hasZone: Bool) -> Timestamp? {
        hasZone ? clock : Timestamp(exactly: zone?.instant(ofClock: clock.microseconds) ?? clock.microseconds)
    }

    @inline(__always) private func mark(_ valid: Bool) {
        if nulls > 0 {
            if validity.count <= count >> 6 { grow() }
            if valid { validity[count >> 6] |= UInt64(1) << UInt64(count & 63) }
        }
        count += 1
    }

    /// Makes room for the row at `count`; the rows before the first null all have a value.
    private func grow() {
        if validity.isEmpty {
            validity = Array(repeating: .max, count: count >> 6)
            validity.append((UInt64(1) << UInt64(count & 63)) - 1)
        } else {
            validity.append(0)
        }
    }

    private func misfit(_ text: UnsafeBufferPointer<UInt8>) -> String { "\(shown(text)) is not a \(type)\(Conversion.limits(type))" }
}

/// A field as it is shown in a reason: its beginning, in quotes.
func shown(_ text: UnsafeBufferPointer<UInt8>) -> String {
    "'" + String(decoding: text.prefix(60), as: UTF8.self) + (text.count > 60 ? "…'" : "'")
}

func isUTF8(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    var i = 0
    while i < text.count {
        if text[i] >= 0x80 { return String(validating: text, as: UTF8.self) != nil }
        i += 1
    }
    return true
}

/// Numbers, booleans and zones as texts spell them.
enum NumberText {
    /// A whole number; `517.0` is one too, as tools write it when the column has gaps.
    static func integer(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        var i = 0
        let negative = text.first == UInt8(ascii: "-")
        if negative || text.first == UInt8(ascii: "+") { i = 1 }
        let start = i
        var value: Int64 = 0
        while i < text.count, text[i] >= 48, text[i] <= 57 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, carried) = product.subtractingReportingOverflow(Int64(text[i] - 48))
            if overflow || carried { return nil }
            value = next
            i += 1
        }
        guard i > start else { return nil }
        if i < text.count {
            guard text[i] == UInt8(ascii: "."), text[(i + 1)...].allSatisfy({ $0 == 48 }) else { return nil }
        }
        if negative { return value }
        return value == .min ? nil : -value
    }

    /// A decimal number, also NaN and infinities, which the caller refuses. Nil when it is none.
    static func double(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        var i = 0
        var mantissa: UInt64 = 0
        var (digits, scale) = (0, 0)
        let negative = text.first == UInt8(ascii: "-")
        if negative { i = 1 }
        while i < text.count, text[i] >= 48, text[i] <= 57 {
            mantissa = mantissa &* 10 &+ UInt64(text[i] - 48)
            digits += 1
            i += 1
        }
        if i < text.count, text[i] == UInt8(ascii: ".") {
            i += 1
            while i < text.count, text[i] >= 48, text[i] <= 57 {
                mantissa = mantissa &* 10 &+ UInt64(text[i] - 48)
                digits += 1
                scale += 1
                i += 1
            }
        }
        // Both the mantissa and the power of ten are exact in float64 (Clinger's fast path).
        if i == text.count, digits > 0, digits <= 15 {
            let value = Double(mantissa) / powersOfTen[scale]
            return negative ? -value : value
        }
        guard text.count <= 400, let first = text.first, first > 32, let last = text.last, last > 32 else { return nil }
        // No hexadecimal, as `Double` would read it.
        guard !text.contains(where: { $0 == UInt8(ascii: "x") || $0 == UInt8(ascii: "X") }) else { return nil }
        return Double(String(decoding: text, as: UTF8.self))
    }

    /// The float32 nearest to the number that `text` spells, of which `value` is the nearest float64.
    static func float(_ text: UnsafeBufferPointer<UInt8>, _ value: Double) -> Float {
        let near = Float(value)
        guard near.isFinite, Double(near) != value else { return near }
        // Rounded twice, a number just beside the middle between two float32 would go the wrong way.
        let other = value > Double(near) ? near.nextUp : near.nextDown
        guard value - Double(near) == Double(other) - value else { return near }
        return Float(String(decoding: text, as: UTF8.self)) ?? near
    }

    /// Whether the text is a whole number with so many digits that a float may not hold it.
    static func isLongInteger(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        text.count > 7 && text.allSatisfy { $0 >= 48 && $0 <= 57 || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
    }

    /// Whether the decimal number in `text` is `value`, or what `value` prints as.
    static func same(_ text: UnsafeBufferPointer<UInt8>, _ value: Double, _ printed: String) -> Bool {
        let written = digits(text)
        if written == digits(Array(printed.utf8.prefix { $0 != UInt8(ascii: "e") })) { return true }
        let decimals = text.firstIndex(of: UInt8(ascii: ".")).map { text.count - $0 - 1 } ?? 0
        return written == digits(Array(String(format: "%.\(decimals)f", value).utf8))
    }

    /// The digits of a decimal number without the zeros at both ends.
    private static func digits(_ text: some Collection<UInt8>) -> ArraySlice<UInt8> {
        let digits = text.filter { $0 >= 48 && $0 <= 57 }
        guard let first = digits.firstIndex(where: { $0 != 48 }), let last = digits.lastIndex(where: { $0 != 48 }) else { return [] }
        return digits[first...last]
    }

    static func bool(_ text: UnsafeBufferPointer<UInt8>) -> Bool? {
        switch text.count {
        case 1: text[0] == UInt8(ascii: "1") ? true : text[0] == UInt8(ascii: "0") ? false : nil
        case 4, 5: ["true": true, "false": false][String(decoding: text, as: UTF8.self).lowercased()]
        default: nil
        }
    }

    /// Whether an instant that was read names its zone.
    static func hasZone(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard text.count > 16, let last = text.last else { return false }
        return last == UInt8(ascii: "Z") || last == UInt8(ascii: "z")
            || text[16...].contains { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-") }
    }

    private static let powersOfTen: [Double] = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15]
}

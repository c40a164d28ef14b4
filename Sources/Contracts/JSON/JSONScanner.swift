#if canImport(Glibc)
    import Glibc
#endif

/// Reads JSON bytes token by token without building a tree: the parser of the hot paths.
///
/// RFC 8259, strict: no NaN, no comments, no trailing commas; invalid UTF-8 in a string is an error. The caller keeps the bytes alive.
public struct JSONScanner {
    public let bytes: UnsafeBufferPointer<UInt8>
    public var position: Int { place }
    @usableFromInline var place = 0
    private static let depthLimit = 128

    public init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    public enum Token: Sendable { case object, array, string, number, literal, end }

    /// An error at the current place.
    public func failure(_ message: String) -> KeelError { .invalid("\(message) at byte \(position)", hint: "the body must be valid JSON") }

    @inlinable @inline(__always) mutating func skipSpace() {
        while place < bytes.count {
            let c = bytes[place]
            if c == 32 || c == 10 || c == 13 || c == 9 { place += 1 } else { return }
        }
    }

    /// What comes next, without consuming it.
    @inlinable public mutating func peek() throws(KeelError) -> Token {
        skipSpace()
        guard place < bytes.count else { return .end }
        switch bytes[place] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), 48...57: return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): return .literal
        default: throw failure("unexpected character")
        }
    }

    @inlinable @inline(__always) public mutating func take(_ character: UInt8) -> Bool {
        skipSpace()
        guard place < bytes.count, bytes[place] == character else { return false }
        place += 1
        return true
    }

    @inlinable public mutating func expect(_ character: UInt8) throws(KeelError) {
        guard take(character) else { throw failure("expected '\(Character(UnicodeScalar(character)))'") }
    }

    public mutating func expectEnd() throws(KeelError) {
        skipSpace()
        guard position == bytes.count else { throw failure("unexpected text after the document") }
    }

    /// Calls `body` with each key (raw UTF-8 when it holds no escape); `body` must consume the value.
    @inlinable public mutating func object(_ body: (inout JSONScanner, UnsafeBufferPointer<UInt8>) throws(KeelError) -> Void) throws(KeelError) {
        try expect(UInt8(ascii: "{"))
        if take(UInt8(ascii: "}")) { return }
        repeat {
            skipSpace()
            let (range, escaped) = try stringRange()
            if escaped {
                var key = try unescape(range)
                try expect(UInt8(ascii: ":"))
                // The buffer lives until the body returns.
                let result: Result<Void, KeelError> = key.withUnsafeMutableBufferPointer { pointer in
                    do throws(KeelError) {
                        try body(&self, UnsafeBufferPointer(pointer))
                        return .success(())
                    } catch { return .failure(error) }
                }
                try result.get()
            } else {
                try expect(UInt8(ascii: ":"))
                try body(&self, UnsafeBufferPointer(rebasing: bytes[range]))
            }
        } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "}"))
    }

    /// Calls `body` for each element; `body` must consume it.
    @inlinable public mutating func array(_ body: (inout JSONScanner) throws(KeelError) -> Void) throws(KeelError) {
        try expect(UInt8(ascii: "["))
        if take(UInt8(ascii: "]")) { return }
        repeat { try body(&self) } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "]"))
    }

    /// A number; integers that fit are exact.
    public mutating func number() throws(KeelError) -> Double {
        let (value, integer) = try numberOrInteger()
        return integer.map(Double.init) ?? value
    }

    /// A number as float64, and as int64 when it is written without fraction and exponent and fits.
    public mutating func numberOrInteger() throws(KeelError) -> (Double, Int64?) {
        skipSpace()
        let start = position
        var i = position
        let negative = i < bytes.count && bytes[i] == UInt8(ascii: "-")
        if negative { i += 1 }
        let digitsStart = i
        var mantissa: UInt64 = 0
        var digits = 0
        var exponent = 0
        while i < bytes.count, bytes[i] >= 48, bytes[i] <= 57 {
            if digits < 19 { mantissa = mantissa &* 10 &+ UInt64(bytes[i] - 48) } else { exponent += 1 }
            digits += mantissa == 0 ? 0 : 1
            i += 1
        }
        guard i > digitsStart, !(bytes[digitsStart] == 48 && i - digitsStart > 1) else { throw failure("malformed number") }
        var integral = true
        if i < bytes.count, bytes[i] == UInt8(ascii: ".") {
            integral = false
            i += 1
            let fractionStart = i
            while i < bytes.count, bytes[i] >= 48, bytes[i] <= 57 {
                if digits < 19 {
                    mantissa = mantissa &* 10 &+ UInt64(bytes[i] - 48)
                    exponent -= 1
                }
                digits += mantissa == 0 ? 0 : 1
                i += 1
            }
            guard i > fractionStart else { throw failure("malformed number") }
        }
        if i < bytes.count, bytes[i] == UInt8(ascii: "e") || bytes[i] == UInt8(ascii: "E") {
            integral = false
            i += 1
            var sign = 1
            if i < bytes.count, bytes[i] == UInt8(ascii: "-") || bytes[i] == UInt8(ascii: "+") {
                sign = bytes[i] == UInt8(ascii: "-") ? -1 : 1
                i += 1
            }
            let exponentStart = i
            var written = 0
            while i < bytes.count, bytes[i] >= 48, bytes[i] <= 57 {
                written = min(written * 10 + Int(bytes[i] - 48), 100_000)
                i += 1
            }
            guard i > exponentStart else { throw failure("malformed number") }
            exponent += sign * written
        }
        place = i
        if integral, digits <= 18 || (digits == 19 && mantissa <= UInt64(Int64.max) + (negative ? 1 : 0)), exponent == 0 {
            let value = negative ? Int64(truncatingIfNeeded: 0 &- mantissa) : Int64(mantissa)
            // Zero with a sign is a number of its own.
            return (negative ? -Double(mantissa) : Double(value), value)
        }
        // Clinger's fast path: both the mantissa and the power of ten are exact in float64.
        if digits <= 15, exponent >= -22, exponent <= 22 {
            let scaled = exponent < 0 ? Double(mantissa) / powersOfTen[-exponent] : Double(mantissa) * powersOfTen[exponent]
            return (negative ? -scaled : scaled, nil)
        }
        let text = String(decoding: bytes[start..<i], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            place = start
            throw failure("a number beyond float64")
        }
        return (value, nil)
    }

    public mutating func bool() throws(KeelError) -> Bool {
        if try literal("true") { return true }
        if try literal("false") { return false }
        throw failure("expected true or false")
    }

    /// Consumes `null` when it is next.
    public mutating func null() throws(KeelError) -> Bool { try literal("null") }

    private mutating func literal(_ word: StaticString) throws(KeelError) -> Bool {
        skipSpace()
        let count = word.utf8CodeUnitCount
        guard position + count <= bytes.count, let base = bytes.baseAddress, memcmp(base + position, word.utf8Start, count) == 0 else {
            return false
        }
        place += count
        return true
    }

    public mutating func string() throws(KeelError) -> String {
        skipSpace()
        let (range, escaped) = try stringRange()
        let text =
            escaped ? try unescape(range).withUnsafeBufferPointer { $0.utf8Text } : UnsafeBufferPointer(rebasing: bytes[range]).utf8Text
        guard let text else { throw failure("a string that is not valid UTF-8 ends") }
        return text
    }

    /// Calls `body` with the string's UTF-8 bytes, without making a `String`. The bytes may be invalid UTF-8 when the input is.
    @inlinable public mutating func stringBytes<T>(_ body: (UnsafeBufferPointer<UInt8>) throws(KeelError) -> T) throws(KeelError) -> T {
        skipSpace()
        let (range, escaped) = try stringRange()
        if !escaped { return try body(UnsafeBufferPointer(rebasing: bytes[range])) }
        let raw = try unescape(range)
        let result: Result<T, KeelError> = raw.withUnsafeBufferPointer { pointer in
            do throws(KeelError) { return .success(try body(pointer)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Skips one value of any shape.
    public mutating func skip() throws(KeelError) { _ = try tree() }

    /// Consumes one value of any shape as a tree.
    public mutating func tree(depth: Int = 0) throws(KeelError) -> JSON {
        guard depth < JSONScanner.depthLimit else { throw failure("more than \(JSONScanner.depthLimit) levels of nesting") }
        switch try peek() {
        case .object:
            var members: [JSON.Member] = []
            try object { (scanner, key) throws(KeelError) in
                guard let name = key.utf8Text else { throw scanner.failure("a key that is not valid UTF-8 ends") }
                members.append(JSON.Member(name, try scanner.tree(depth: depth + 1)))
            }
            if members.count > 1, Set(members.map(\.key)).count != members.count { throw failure("an object with the same key twice ends") }
            return .object(members)
        case .array:
            var items: [JSON] = []
            try array { (scanner) throws(KeelError) in items.append(try scanner.tree(depth: depth + 1)) }
            return .array(items)
        case .string: return .string(try string())
        case .number:
            let (value, integer) = try numberOrInteger()
            return integer.map(JSON.int) ?? .double(value)
        case .literal: return try null() ? .null : .bool(try bool())
        case .end: throw failure("the document ends too early")
        }
    }

    @usableFromInline mutating func stringRange() throws(KeelError) -> (Range<Int>, escaped: Bool) {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw failure("expected a string") }
        var i = position + 1
        let start = i
        var escaped = false
        while i < bytes.count {
            let c = bytes[i]
            if c == UInt8(ascii: "\"") {
                place = i + 1
                return (start..<i, escaped)
            }
            if c == UInt8(ascii: "\\") {
                escaped = true
                i += 2
            } else if c < 32 {
                place = i
                throw failure("a control character inside a string")
            } else {
                i += 1
            }
        }
        throw failure("a string without its end begins")
    }

    @usableFromInline func unescape(_ range: Range<Int>) throws(KeelError) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(range.count)
        var i = range.lowerBound
        func hex(_ at: Int) -> UInt32? {
            guard at + 4 <= range.upperBound else { return nil }
            var value: UInt32 = 0
            for k in at..<at + 4 {
                guard let d = Character(UnicodeScalar(bytes[k])).hexDigitValue else { return nil }
                value = value << 4 | UInt32(d)
            }
            return value
        }
        while i < range.upperBound {
            guard bytes[i] == UInt8(ascii: "\\") else {
                out.append(bytes[i])
                i += 1
                continue
            }
            guard i + 1 < range.upperBound else { throw failure("a malformed escape before") }
            switch bytes[i + 1] {
            case UInt8(ascii: "n"): out.append(10)
            case UInt8(ascii: "t"): out.append(9)
            case UInt8(ascii: "r"): out.append(13)
            case UInt8(ascii: "b"): out.append(8)
            case UInt8(ascii: "f"): out.append(12)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(bytes[i + 1])
            case UInt8(ascii: "u"):
                guard var code = hex(i + 2) else { throw failure("a malformed \\u escape before") }
                i += 4
                if (0xD800..<0xDC00).contains(code) {
                    guard i + 3 < range.upperBound, bytes[i + 2] == UInt8(ascii: "\\"), bytes[i + 3] == UInt8(ascii: "u"),
                        let low = hex(i + 4), (0xDC00..<0xE000).contains(low)
                    else { throw failure("half of a surrogate pair before") }
                    code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
                    i += 6
                }
                guard let scalar = UnicodeScalar(code) else { throw failure("half of a surrogate pair before") }
                out.append(contentsOf: Array(String(Character(scalar)).utf8))
            default: throw failure("an unknown escape before")
            }
            i += 2
        }
        return out
    }
}

private let powersOfTen: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
]

extension UnsafeBufferPointer<UInt8> {
    /// Whether every byte is ASCII.
    @inlinable public var isASCII: Bool {
        let raw = UnsafeRawBufferPointer(self)
        var (seen, i): (UInt64, Int) = (0, 0)
        while i + 8 <= count {
            seen |= raw.loadUnaligned(fromByteOffset: i, as: UInt64.self)
            i += 8
        }
        while i < count {
            seen |= UInt64(self[i])
            i += 1
        }
        return seen & 0x8080_8080_8080_8080 == 0
    }

    /// The text whose UTF-8 these bytes are; nil when they are not valid.
    public var utf8Text: String? { isASCII ? String(decoding: self, as: UTF8.self) : String(validating: self, as: UTF8.self) }
}

/// Compares raw key bytes with a literal, without making a `String`.
@inlinable public func == (key: UnsafeBufferPointer<UInt8>, word: StaticString) -> Bool {
    guard key.count == word.utf8CodeUnitCount, let base = key.baseAddress else { return key.count == 0 && word.utf8CodeUnitCount == 0 }
    return memcmp(base, word.utf8Start, key.count) == 0
}

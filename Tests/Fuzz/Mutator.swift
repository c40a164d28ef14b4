import TestSupport

/// Makes new inputs out of old ones: bytes and bits, words of the format, whole units between delimiters, numbers at their limits, lengths off by one,
/// parts of other inputs, and repetitions up to nesting that no parser should follow.
struct Mutator {
    private let words: [[UInt8]]
    private let bytesMax: Int
    private let structure: FuzzTarget.Structure
    private(set) var random: Seeded

    init(_ target: FuzzTarget, seed: UInt64) {
        words = target.words.map { Array($0.utf8) }
        bytesMax = target.bytesMax
        structure = target.structure
        random = Seeded(seed)
    }

    mutating func choose(_ count: Int) -> Int { Int.random(in: 0..<max(1, count), using: &random) }

    /// - Parameter pool: what there is to build upon, none of it changed.
    mutating func input(from pool: [[UInt8]]) -> [UInt8] {
        let base = pool[choose(pool.count)]
        if structure == .protobuf, choose(4) > 0, var message = ProtobufTree(base) {
            for _ in 0...choose(3) { message.mutate(&self, pool) }
            return Array(message.bytes.prefix(SharedInput.inputBytesMax))
        }
        return changed(base, pool)
    }

    /// A few changes of bytes that have no known structure.
    mutating func changed(_ base: [UInt8], _ pool: [[UInt8]]) -> [UInt8] {
        var bytes = base
        for _ in 0...(choose(4) == 0 ? choose(12) : choose(2)) { change(&bytes, pool) }
        // Few inputs are long: most faults need no length, and long ones take the time of many.
        let limit = choose(500) == 0 ? bytesMax * 16 : bytesMax
        return Array(bytes.prefix(min(limit, SharedInput.inputBytesMax)))
    }

    private mutating func change(_ bytes: inout [UInt8], _ pool: [[UInt8]]) {
        guard !bytes.isEmpty else {
            bytes = words.isEmpty ? [UInt8.random(in: .min ... .max, using: &random)] : words[choose(words.count)]
            return
        }
        let at = choose(bytes.count)
        switch choose(16) {
        case 0: bytes[at] ^= 1 << UInt8(choose(8))
        case 1: bytes[at] = Mutator.bytes[choose(Mutator.bytes.count)]
        case 2: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
        case 3: bytes.removeSubrange(range(bytes))
        case 4:
            let part = bytes[range(bytes)]
            bytes.insert(contentsOf: Array(part), at: choose(2) == 0 ? part.endIndex : at)
        case 5: bytes.insert(contentsOf: word(), at: at)
        case 6: bytes.replaceSubrange(range(bytes), with: word())
        case 7:
            let other = pool[choose(pool.count)]
            if !other.isEmpty { bytes.replaceSubrange(range(bytes), with: other[range(other)]) }
        case 8:
            let other = pool[choose(pool.count)]
            if !other.isEmpty { bytes.insert(contentsOf: other[range(other)], at: at) }
        case 9: bytes = Array(bytes[..<at]) + pool[choose(pool.count)].suffix(choose(bytes.count))
        case 10, 11: changeNumber(&bytes, at)
        case 12, 13: changeInteger(&bytes, at)
        case 14: bytes.removeSubrange(at...)
        default: `repeat`(&bytes)
        }
    }

    private mutating func word() -> [UInt8] {
        if !words.isEmpty, choose(4) > 0 { return words[choose(words.count)] }
        let part = Mutator.texts[choose(Mutator.texts.count)]
        return choose(3) == 0 ? Array(Mutator.numbers[choose(Mutator.numbers.count)].utf8) : part
    }

    /// A part of the bytes: as chance has it, or a unit of text: what stands between delimiters, or within a pair of brackets or quotes.
    private mutating func range(_ bytes: [UInt8]) -> Range<Int> {
        let start = choose(bytes.count)
        if choose(2) == 0 { return start..<min(bytes.count, start + 1 + choose(choose(2) == 0 ? 8 : 64)) }
        var begin = start
        while begin < bytes.count, Mutator.delimiters.contains(bytes[begin]) { begin += 1 }
        guard begin < bytes.count else { return start..<bytes.count }
        guard let close = Mutator.pairs[bytes[begin]] else {
            let end = bytes[begin...].firstIndex { Mutator.delimiters.contains($0) } ?? bytes.count
            return begin..<max(end, begin + 1)
        }
        var depth = 0
        for i in begin..<bytes.count {
            if i > begin, bytes[i] == close { depth -= 1 } else if bytes[i] == bytes[begin] { depth += 1 }
            if depth == 0 { return begin..<i + 1 }
        }
        return begin..<bytes.count
    }

    /// A number that is written in digits.
    private mutating func changeNumber(_ bytes: inout [UInt8], _ at: Int) {
        func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
        guard let start = bytes[at...].firstIndex(where: isDigit) ?? bytes.firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        let digits = bytes[start..<end]
        let new: [UInt8]
        switch choose(4) {
        case 0: new = Array(Mutator.numbers[choose(Mutator.numbers.count)].utf8)
        case 1:
            let value = Int(String(decoding: digits, as: UTF8.self)) ?? 0
            new = Array(String(value &+ choose(5) &- 2).utf8)
        case 2: new = Array(digits + digits)
        default: new = Array(digits.dropLast()) + [UInt8(48 + choose(10))]
        }
        bytes.replaceSubrange(start..<end, with: new)
    }

    /// A number that takes one, two, four or eight bytes.
    private mutating func changeInteger(_ bytes: inout [UInt8], _ at: Int) {
        let size = 1 << choose(4)
        guard at + size <= bytes.count else { return }
        let isLittle = choose(2) == 0
        var value: UInt64 = 0
        for i in 0..<size { value = value << 8 | UInt64(bytes[isLittle ? at + size - 1 - i : at + i]) }
        switch choose(5) {
        case 0: value = Mutator.integers[choose(Mutator.integers.count)]
        case 1: value = value &+ UInt64(choose(16)) &- 8
        case 2: value = UInt64(max(0, bytes.count - at - size + choose(3) - 1))
        case 3: value = UInt64(max(0, bytes.count + choose(3) - 1))
        default: value = UInt64.random(in: 0...UInt64.max >> UInt64(choose(64)), using: &random)
        }
        for i in 0..<size { bytes[isLittle ? at + i : at + size - 1 - i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) }
    }

    /// A part many times, now and then so often that it nests as deep as an input can be long.
    private mutating func `repeat`(_ bytes: inout [UInt8]) {
        let isWord = choose(3) == 0
        let place = range(bytes)
        let part = isWord ? word() : Array(bytes[place].prefix(64))
        guard !part.isEmpty else { return }
        let times = choose(40) == 0 ? bytesMax * 16 / part.count : choose(choose(4) == 0 ? 300 : 8)
        bytes.insert(contentsOf: [[UInt8]](repeating: part, count: min(times, bytesMax * 16)).joined(), at: place.lowerBound)
    }

    private static let delimiters = Set(" ,:;=\n\r\t)]}|&?./".utf8)
    private static let pairs: [UInt8: UInt8] = [
        UInt8(ascii: "["): UInt8(ascii: "]"), UInt8(ascii: "{"): UInt8(ascii: "}"), UInt8(ascii: "("): UInt8(ascii: ")"),
        UInt8(ascii: "\""): UInt8(ascii: "\""),
        UInt8(ascii: "'"): UInt8(ascii: "'"),
    ]
    private static let bytes: [UInt8] = [
        0, 1, 0x7f, 0x80, 0xff, 0xfe, 9, 10, 13, 32, 34, 39, 44, 45, 46, 47, 48, 57, 58, 61, 91, 92, 93, 96, 123, 125, 0xc0, 0xe2, 0xf0,
    ]
    private static let texts: [[UInt8]] = [
        [0xef, 0xbb, 0xbf], [0xff, 0xfe], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xcc, 0x81],
        [0xf0, 0x9f, 0x98, 0x80], [0], [0xe2, 0x80, 0xae],
        [13, 10], [0xc3, 0xa9],
    ]
    private static let numbers = [
        "0", "-0", "1", "-1", "00", "127", "128", "255", "256", "32768", "65535", "65536", "2147483647", "2147483648", "-2147483648",
        "-2147483649", "4294967295",
        "4294967296", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615", "18446744073709551616", "1e308", "1e309", "-1.8e308", "5e-324", "1e-400", "0.1", "1.5", "1e5", "3.5e38",
        "65504", "65520", "1e22", "1e23",
        "123456789012345678901234567890",
    ]
    private static let integers: [UInt64] = [
        0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000, .max,
        .max - 7, 1 << 31 - 24, 0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0000,
    ]
}

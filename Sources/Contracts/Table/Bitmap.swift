/// One bit a row, packed in 64-bit words; bit set = the row has a value.
public struct Bitmap: Sendable, Hashable {
    public private(set) var words: [UInt64]
    public private(set) var count: Int

    public init(repeating value: Bool = true, count: Int = 0) {
        words = Array(repeating: value ? .max : 0, count: (count + 63) / 64)
        self.count = count
        clearTail()
    }

    /// The first `count` bits of `words`, little end first.
    public init(words: [UInt64], count: Int) {
        precondition(words.count == (count + 63) / 64, "a bitmap of \(count) rows needs \((count + 63) / 64) words")
        self.words = words
        self.count = count
        clearTail()
    }

    @inlinable public subscript(i: Int) -> Bool {
        get { words[i >> 6] >> UInt64(i & 63) & 1 == 1 }
        set { set(i, newValue) }
    }

    @usableFromInline mutating func set(_ i: Int, _ value: Bool) {
        let bit = UInt64(1) << UInt64(i & 63)
        if value { words[i >> 6] |= bit } else { words[i >> 6] &= ~bit }
    }

    public mutating func append(_ value: Bool) {
        if count & 63 == 0 { words.append(0) }
        if value { words[count >> 6] |= UInt64(1) << UInt64(count & 63) }
        count += 1
    }

    /// How many bits are set.
    public var setCount: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    private mutating func clearTail() {
        if count & 63 != 0, let last = words.indices.last { words[last] &= (UInt64(1) << UInt64(count & 63)) - 1 }
    }
}

import Contracts

/// The lines of a LightGBM model: `key=value`, or a key alone.
struct LightGBMLines {
    struct Line {
        let key: String
        /// The bytes after the equals sign.
        let value: Range<Int>?
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private var place = 0
    private var number = 0
    /// Keys are short words; a longer one is no key.
    private static let keyBytesMax = 64

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// An error at the line that was read last.
    func failure(_ message: String) -> KeelError { KeelError(.corrupted, "the model is damaged: line \(number): \(message)") }

    /// The next line that is not empty.
    mutating func next() -> Line? {
        while place < bytes.count {
            let start = place
            while place < bytes.count, bytes[place] != UInt8(ascii: "\n") { place += 1 }
            var end = place
            if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
            place += 1
            number += 1
            if end > start { return line(start..<end) }
        }
        return nil
    }

    /// The next line, unless it begins another part of the file.
    mutating func nextOfTree() -> Line? {
        let before = self
        guard let line = next(), line.value != nil, line.key != "Tree" else {
            self = before
            return nil
        }
        return line
    }

    private func line(_ range: Range<Int>) -> Line {
        let equals = bytes[range.prefix(LightGBMLines.keyBytesMax)].firstIndex(of: UInt8(ascii: "="))
        let key = range.lowerBound..<(equals ?? min(range.upperBound, range.lowerBound + LightGBMLines.keyBytesMax))
        return Line(
            key: String(decoding: UnsafeBufferPointer(rebasing: bytes[key]), as: UTF8.self), value: equals.map { $0 + 1..<range.upperBound }
        )
    }

    // MARK: - values

    func text(_ line: Line) throws(KeelError) -> String {
        guard let value = line.value, let text = UnsafeBufferPointer(rebasing: bytes[value]).utf8Text else {
            throw failure("\(line.key) is no text")
        }
        return text
    }

    func count(_ line: Line) throws(KeelError) -> Int {
        guard let value = Int(try text(line)), value >= 0, value <= 1 << 30 else { throw failure("\(line.key) is not a count") }
        return value
    }

    /// Whole numbers of 32 bits, with or without a sign, one space or more between them.
    func wholeNumbers(_ line: Line) throws(KeelError) -> [Int32] {
        var out: [Int32] = []
        try words(line) { word throws(KeelError) in
            guard let value = Int64(word), let narrow = Int32(exactly: value) ?? UInt32(exactly: value).map(Int32.init(bitPattern:)) else {
                throw failure("\(line.key): '\(word.prefix(30))' is not a whole number of 32 bits")
            }
            out.append(narrow)
        }
        return out
    }

    func numbers(_ line: Line) throws(KeelError) -> [Double] {
        var out: [Double] = []
        try words(line) { word throws(KeelError) in
            // Only the forms in which LightGBM writes numbers: nothing hexadecimal.
            guard
                word == "inf" || word == "-inf" || word.utf8.allSatisfy({ (48...57).contains($0) || [43, 45, 46, 69, 101].contains($0) }),
                let value = Double(word)
            else { throw failure("\(line.key): '\(word.prefix(30))' is not a number") }
            out.append(value)
        }
        return out
    }

    private func words(_ line: Line, _ body: (String) throws(KeelError) -> Void) throws(KeelError) {
        guard let value = line.value else { return }
        var at = value.lowerBound
        while at < value.upperBound {
            var end = at
            while end < value.upperBound, bytes[end] != UInt8(ascii: " ") { end += 1 }
            if end > at { try body(String(decoding: UnsafeBufferPointer(rebasing: bytes[at..<end]), as: UTF8.self)) }
            at = end + 1
        }
    }
}

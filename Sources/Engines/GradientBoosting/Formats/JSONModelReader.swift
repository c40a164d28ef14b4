import Contracts

/// JSON as XGBoost writes it: with the words NaN, Infinity and -Infinity among the numbers.
struct JSONModelReader: ModelReader {
    private var scanner: JSONScanner
    private var depth = 0
    private static let depthMax = 128

    init(_ bytes: UnsafeBufferPointer<UInt8>) { scanner = JSONScanner(bytes) }

    func failure(_ message: String) -> KeelError { scanner.failure(message) }
    mutating func expectEnd() throws(KeelError) { try scanner.expectEnd() }
    mutating func string() throws(KeelError) -> String { try scanner.string() }

    mutating func object(_ body: (inout JSONModelReader, String) throws(KeelError) -> Void) throws(KeelError) {
        var inner = self
        try inner.enter()
        try scanner.object { scanner, key throws(KeelError) in
            inner.scanner = scanner
            try body(&inner, String(decoding: key, as: UTF8.self))
            scanner = inner.scanner
        }
    }

    mutating func array(_ body: (inout JSONModelReader) throws(KeelError) -> Void) throws(KeelError) {
        var inner = self
        try inner.enter()
        try scanner.array { scanner throws(KeelError) in
            inner.scanner = scanner
            try body(&inner)
            scanner = inner.scanner
        }
    }

    private mutating func enter() throws(KeelError) {
        depth += 1
        guard depth <= JSONModelReader.depthMax else { throw failure("more than \(JSONModelReader.depthMax) levels of nesting") }
    }

    mutating func integers() throws(KeelError) -> [Int32] {
        var out: [Int32] = []
        try scanner.array { scanner throws(KeelError) in
            if try scanner.peek() == .literal {
                // Models of XGBoost's first versions with JSON.
                out.append(try scanner.bool() ? 1 : 0)
                return
            }
            guard let value = try scanner.numberOrInteger().1, let narrow = Int32(exactly: value) else {
                throw scanner.failure("expected a whole number of 32 bits")
            }
            out.append(narrow)
        }
        return out
    }

    mutating func floats() throws(KeelError) -> [Float] {
        var out: [Float] = []
        try scanner.array { scanner throws(KeelError) in
            if let value = try JSONModelReader.word(&scanner) {
                out.append(value)
            } else {
                out.append(Float(try scanner.number()))
            }
        }
        return out
    }

    /// One of the numbers that JSON has no form for, if it comes next.
    private static func word(_ scanner: inout JSONScanner) throws(KeelError) -> Float? {
        if scanner.take(UInt8(ascii: "N")) {
            try expect("aN", &scanner)
            return .nan
        }
        if scanner.take(UInt8(ascii: "I")) {
            try expect("nfinity", &scanner)
            return .infinity
        }
        let next = scanner.position + 1
        guard next < scanner.bytes.count, scanner.bytes[scanner.position] == UInt8(ascii: "-"), scanner.bytes[next] == UInt8(ascii: "I")
        else {
            return nil
        }
        try expect("-Infinity", &scanner)
        return -.infinity
    }

    private static func expect(_ word: StaticString, _ scanner: inout JSONScanner) throws(KeelError) {
        for i in 0..<word.utf8CodeUnitCount { try scanner.expect(word.utf8Start[i]) }
    }

    mutating func skip() throws(KeelError) {
        // NaN and infinity stand in lists that are skipped, too.
        if try JSONModelReader.word(&scanner) != nil { return }
        switch try scanner.peek() {
        case .object: try object { reader, _ throws(KeelError) in try reader.skip() }
        case .array: try array { reader throws(KeelError) in try reader.skip() }
        case .string: _ = try scanner.string()
        case .number: _ = try scanner.numberOrInteger()
        case .literal: if try !scanner.null() { _ = try scanner.bool() }
        case .end: throw failure("the document ends too early")
        }
    }
}

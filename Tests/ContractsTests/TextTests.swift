import Contracts
import TestSupport
import Testing

@Suite("Numbers and texts for people")
struct TextTests {
    static let awkward: [Double] = [
        0, -0.0, 1.6e15, -1.6e15, 9.99999e15, 1e16, 9.3e18, -9.3e18, 1e300, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
        .leastNonzeroMagnitude, .infinity, -.infinity, .nan, .signalingNaN,
    ]

    @Test("S8: every double has a text, and a finite one reads back as what it was, to the digits asked for")
    func decimals() throws {
        var random = Seeded(8)
        let values = Self.awkward + (0..<20_000).map { _ in Double(bitPattern: random.next()) }
        for value in values {
            let digits = Int.random(in: 0...9, using: &random)
            let text = value.decimals(digits)
            guard value.isFinite else {
                #expect(text == (value.isNaN ? "NaN" : value < 0 ? "-inf" : "inf"))
                continue
            }
            let back = try #require(Double(text), "\(value) is written \(text)")
            if abs(value) >= 1e16 {
                #expect(back == value)
            } else {
                var half = 0.5
                for _ in 0..<digits { half /= 10 }
                #expect(abs(back - value) <= half + abs(value).ulp, "\(value) is written \(text)")
                #expect(text.split(separator: ".").dropFirst().first?.count ?? 0 == digits)
            }
        }
        #expect((-0.0001).decimals(2) == "0.00")
        #expect(1.6e15.decimals(4) == "1600000000000000.0000")
        #expect(1234.5678.decimals(0) == "1235")
    }

    @Test("S8: a whole number of a double never traps")
    func saturating() {
        var random = Seeded(9)
        for value in Self.awkward + (0..<20_000).map({ _ in Double(bitPattern: random.next()) }) {
            let whole = Int64(saturating: value)
            let byte = UInt8(saturating: value)
            if value.isNaN {
                #expect(whole == 0 && byte == 0)
            } else {
                // 2^63 is the first double beyond the range.
                let limited = min(max(value, -0x1p63), 0x1p63)
                #expect(whole == (limited >= 0x1p63 ? .max : Int64(limited.rounded(.towardZero))))
                #expect(byte == UInt8(min(max(value, 0), 255).rounded(.towardZero)))
            }
        }
    }

    static let hostile: [String] = [
        "\u{1b}[2J\u{1b}]0;title\u{7}", "a\nerror: forged", "a\r\nb\rc", "\u{9b}31m", "\u{7f}", "\u{0}", "\u{202e}gpj.exe",
        "\u{2066}x\u{2069}",
        "zero\u{200b}width\u{feff}", "\u{2028}line\u{2029}", "tag\u{e0041}", "\u{ad}soft", "e\u{301}\u{8}",
    ]

    @Test("A11: what a reader would not see is written as an escape", arguments: hostile)
    func visible(text: String) {
        func isHidden(_ scalar: Unicode.Scalar) -> Bool {
            [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
        }
        let line = "before " + text + " after"
        let shown = line.visible()
        #expect(!shown.unicodeScalars.contains(where: isHidden))
        #expect(shown.hasPrefix("before ") && shown.hasSuffix(" after") && shown.contains("\\"))
        #expect(!line.visible(keepingLines: true).unicodeScalars.contains { isHidden($0) && $0 != "\n" && $0 != "\t" })
        #expect(shown.visible() == shown)
    }

    @Test("A11: JSON stays the same document when its hidden characters become escapes", arguments: hostile)
    func visibleJSON(text: String) throws {
        let json: JSON = .object([.init("plain", "Grüße 日本 🙂"), .init("list", [.string(text), .string("x" + text)]), .init(text, 1)])
        let shown = json.pretty.visibleJSON
        #expect(try JSON.parse(shown) == json)
        #expect(
            !shown.unicodeScalars.contains {
                [.control, .format, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory) && $0 != "\n"
            })
    }

    @Test("ordinary text of any script stays as it is")
    func ordinary() {
        for text in ["", "Grüße", "日本語", "Ελληνικά", "🙂", "a\\nb"] { #expect(text.visible() == text) }
    }

    @Test("several errors are one, and keep their places")
    func joined() {
        let a = KeelError.invalid("one", path: "spec.a")
        let b = KeelError.invalid("two", hint: "try", path: "spec.b")
        #expect(KeelError.joined([]) == nil)
        #expect(KeelError.joined([a]) == a)
        let both = KeelError.joined([a, b])?.at("Dataset/x")
        #expect(both?.all.map(\.path) == ["Dataset/x.spec.a", "Dataset/x.spec.b"])
        #expect(KeelError.joined([both, a].compactMap { $0 })?.also.count == 2)
    }

    @Test("mapping all elements gives every error at once, up to a bound")
    func mapAll() throws {
        func half(_ number: Int) throws(KeelError) -> Int {
            guard number % 2 == 0 else { throw .invalid("odd", path: "[\(number)]") }
            return number / 2
        }
        #expect(try [2, 4].mapAll(half) == [1, 2])
        let error = #expect(throws: KeelError.self) { try [1, 2, 3].mapAll(half) }
        #expect(error?.all.map(\.path) == ["[1]", "[3]"])
        let many = #expect(throws: KeelError.self) { try Array(repeating: 1, count: 1000).mapAll(half) }
        #expect(many?.all.count == 100)
    }
}

import Contracts
import TestSupport
import Testing

@Suite("JSON")
struct JSONTests {
    @Test(
        "valid documents survive a round trip",
        arguments: [
            #"{"a":[1,2.5,-3e10,null,true,"x\n\u00e9\ud83d\ude00"],"b":{}}"#, "[]", "0", "-0.5", "9223372036854775807", #""\\\"""#,
        ])
    func roundTrip(text: String) throws {
        let tree = try JSON.parse(text)
        #expect(try JSON.parse(tree.text) == tree)
        #expect(try JSON.parse(tree.pretty) == tree)
    }

    @Test(
        "malformed documents are errors, never crashes",
        arguments: [
            "", "{", "[1,]", "01", "1.", "1e", "nul", #"{"a":1,"a":2}"#, #""\ud800""#, #""\x""#, "\"\u{1}\"", "[1] 2", "NaN", "-",
            #"{"a" 1}"#,
            String(repeating: "[", count: 100_000), "1e999",
        ])
    func malformed(text: String) {
        #expect(throws: KeelError.self) { try JSON.parse(text) }
    }

    @Test("random bytes and truncations never crash the parser")
    func fuzz() {
        var random = Seeded(37)
        let seed = Array(#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP64","data":[1.5,-2e3,null,"é\u0041"]}],"id":"x"}"#.utf8)
        for _ in 0..<5000 {
            var bytes = Array(seed.prefix(Int.random(in: 0...seed.count, using: &random)))
            for _ in 0..<Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            if let tree = try? JSON.parse(bytes) { #expect((try? JSON.parse(tree.bytes)) == tree) }
        }
    }

    @Test("numbers are read exactly as the standard library reads them")
    func numbers() throws {
        var random = Seeded(41)
        for _ in 0..<5000 {
            let value = Double(bitPattern: random.next())
            guard value.isFinite else { continue }
            let read = try #require(try JSON.parse("\(value)").number)
            #expect(read == value)
        }
    }

    @Test("equal documents have equal canonical bytes whatever their order")
    func canonical() throws {
        #expect(try JSON.parse(#"{"b":1,"a":{"d":2,"c":3}}"#).canonical == JSON.parse(#"{"a":{"c":3,"d":2},"b":1}"#).canonical)
    }

    @Test("a string with a quote, a backslash or a control character at any place comes back as it was")
    func escapes() throws {
        for length in 0..<40 {
            for place in 0..<length {
                for special in ["\"", "\\", "\n", "\u{0}", "\u{1f}", " ", "\u{7f}", "é", "🦊"] {
                    let text = String(repeating: "a", count: place) + special + String(repeating: "z", count: length - place - 1)
                    let written = JSON.string(text).text
                    #expect(try JSON.parse(written) == .string(text))
                    #expect(!written.utf8.contains { $0 < 32 })
                }
            }
        }
    }
}

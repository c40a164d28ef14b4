import Contracts
import TestSupport
import Testing

@Suite("W3C trace context") struct TraceParentTests {
    private static let known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test("the ids and the flag are read, and written as they came")
    func read() throws {
        let parent = try #require(TraceParent(Self.known))
        #expect(parent.trace.description == "4bf92f3577b34da6a3ce929d0e0e4736" && parent.span == 0x00f0_67aa_0ba9_02b7 && parent.isSampled)
        #expect(parent.trace.bytes.prefix(2) == [0x4b, 0xf9])
        #expect(try #require(TraceParent(Self.known.dropLast() + "0")).isSampled == false)
        // Flags that are not known yet say nothing of sampling.
        #expect(try #require(TraceParent(Self.known.dropLast(2) + "fe")).isSampled == false)
        #expect(try #require(TraceParent("cc" + Self.known.dropFirst(2) + "-what-comes-later")).isSampled)
    }

    @Test(
        "what is malformed is none",
        arguments: [
            "", "00", "ff" + known.dropFirst(2), known + "-more", known + "0", String(known.dropLast()), known.uppercased(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "cc" + known.dropFirst(2) + "0", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ])
    func malformed(text: String) { #expect(TraceParent(text) == nil) }

    @Test("no text of any bytes is read wrongly: what is read has the form of the standard")
    func random() {
        var seeded = Seeded(7)
        let characters = Array("0123456789abcdef-fF ")
        for _ in 0..<20_000 {
            var text = Array(Self.known)
            for _ in 0..<Int.random(in: 0...3, using: &seeded) {
                text[Int.random(in: 0..<text.count, using: &seeded)] = characters.randomElement(using: &seeded)!
            }
            let whole = String(text)
            let isFormed = whole.wholeMatch(of: /[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}/) != nil && !whole.hasPrefix("ff")
            #expect((TraceParent(whole) != nil) == isFormed, "\(whole)")
        }
    }
}

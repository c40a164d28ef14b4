import Contracts
import Plotting
import TestSupport
import Testing
import keel

@Suite("What the command prints")
struct TerminalTests {
    @Test("S8: every formatter has a text for every number")
    func formatters() {
        var random = Seeded(88)
        for _ in 0..<20_000 {
            let bits = random.next()
            let value = Double(bitPattern: bits)
            let whole = Int64(bitPattern: bits)
            for text in [
                Terminal.decimals(value, Int(bits & 7)), Terminal.duration(microseconds: value), Scale.short(value), Terminal.count(whole),
                RunText.bytes(whole), JSON.object([.init("v", .double(value))]).cell("v"), Sparkline.text([value, 1, -value], width: 3),
            ] {
                #expect(!text.isEmpty)
            }
            #expect(Int64(Terminal.count(whole).replacing(",", with: "")) == whole)
        }
        #expect(Terminal.decimals(nil, 4) == "-")
        #expect(Terminal.decimals(1.6e15, 4) == "1600000000000000.0000")
        #expect(Terminal.duration(microseconds: .infinity) == "inf s")
        #expect(Terminal.count(-123_456) == "-123,456")
        #expect(Terminal.count(-123) == "-123")
    }

    @Test("A11: an event of the log is one line, whatever its texts hold")
    func log() {
        let event = "2026-11-26T00:00:00Z error keel: model='a\n2026-11-26T00:00:01Z notice keel: forged' \u{1b}[1A\n"
        let line = LogLines.line(event)
        #expect(line.filter { $0 == "\n" }.count == 1 && line.hasSuffix("\n"))
        #expect(!line.contains("\u{1b}"))
        #expect(line.contains(#"a\n2026-11-26T00:00:01Z notice keel: forged' \u{1b}[1A"#))
        #expect(LogLines.line("no line feed") == "no line feed\n")
    }
}

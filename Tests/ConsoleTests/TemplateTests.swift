import Console
import Contracts
import Testing

@Suite("Templates of the console")
struct TemplateTests {
    private static let hostile = "<script>alert(\"x\")</script>'&\u{202e}"

    @Test("nothing is put into a page unescaped: no template has triple braces or ampersand tags")
    func noTriples() {
        for (name, bytes) in Templates.sources {
            let text = String(decoding: bytes, as: UTF8.self)
            // JSON in an attribute ends in braces of its own.
            let bare = text.replacing("\"}'", with: "")
            #expect(!bare.contains("{{{") && !bare.contains("}}}") && !bare.contains("{{&"), "\(name)")
            #expect(
                !text.contains("<style") && !text.contains("style=\"") && !text.contains("onclick") && !text.contains("<script>"),
                "\(name): inline code")
        }
    }

    @Test("a name from outside is text in the page, whatever is in it; what hides or turns text around is shown as an escape")
    func escaped() throws {
        let table = PageTable(
            "Things", [.init("Name"), .init("Kind")], [[.text(Self.hostile, path: "/console/x"), .badge(Self.hostile, .bad)]], empty: "none"
        )
        let text = try Templates().render(table.view(PageQuery(path: "/console/things", query: "")), with: "table")
        #expect(!text.contains("<script>") && !text.contains("\u{202e}"))
        #expect(text.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;\\u{202e}"))
    }

    @Test("a long text is cut for display, and whole in its title")
    func cut() throws {
        let long = String(repeating: "a", count: 10_000)
        let shown = Shown.text(long)
        #expect((shown["text"] as? String)?.count == 80 && (shown["title"] as? String)?.count == 1000)
        let short = Shown.text("delay")
        #expect(short["text"] as? String == "delay" && short["title"] as? Bool == false)
    }

    @Test("a table without rows says what would be here")
    func empty() throws {
        let text = try Templates().render(
            PageTable("Things", [.init("Name")], [], empty: "Nothing here: make one.").view(PageQuery(path: "/x", query: "")), with: "table"
        )
        #expect(text.contains("Nothing here: make one.") && !text.contains("<table"))
    }

    @Test("numbers, durations and instants as people read them")
    func shown() {
        #expect(
            Shown.duration(seconds: 0.000_43) == "430 µs" && Shown.duration(seconds: 0.0125) == "12.5 ms"
                && Shown.duration(seconds: 1.2) == "1.20 s")
        #expect(
            Shown.duration(seconds: nil) == "–" && Shown.number(.nan) == "NaN" && Shown.number(-.infinity) == "−∞" && Shown.number(3) == "3"
        )
        #expect(Shown.count(1_234_567) == "1\u{202f}234\u{202f}567" && Shown.count(-12) == "−12" && Shown.count(.min).hasPrefix("−9"))
        #expect((Shown.time(Timestamp(seconds: 0)) as? View)?["text"] as? String == "1970-01-01 00:00:00 UTC")
    }
}

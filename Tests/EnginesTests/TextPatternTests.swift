import Contracts
import Engines
import Testing

@Suite("Patterns")
struct TextPatternTests {
    private func matches(_ pattern: String, _ text: String) throws -> Bool {
        var text = text
        let pattern = try TextPattern(pattern)
        return text.withUTF8 { pattern.matches($0) }
    }

    @Test("the whole text must match, as in DuckDB's regexp_full_match")
    func agreement() throws {
        let connection = try DuckDB(settings: .init(threads: 1)).connect()
        let patterns = ["[A-Z]{2}[0-9]+", "a|ab", "(?i)straße", ".*", "\\d{3}", "[^x]*", "", "\\p{Lu}.", "a.c", "(?s)a.c", "é+", "^a$"]
        for pattern in patterns {
            for text in ["AA12", "ab", "STRASSE", "straße", "", "123", "1234", "xyz", "Éa", "a\nc", "éé", "a", "日本"] {
                let theirs = try connection.query("SELECT regexp_full_match(?, ?)", [.string(text), .string(pattern)]).columns[0][0]
                #expect(try .bool(matches(pattern, text)) == theirs, "\(pattern) on \(text)")
            }
        }
    }

    @Test("S4: patterns that make a backtracking engine run for years answer at once")
    func linear() throws {
        let long = String(repeating: "a", count: 50_000)
        for pattern in ["(a+)+b", "(a*)*b", "(a|aa)+b", "(a|a?)+b", "(.*a){20}b"] { #expect(try !matches(pattern, long)) }
        #expect(try matches("(a+)+", long))
        #expect(try !matches("a*", String(repeating: "a", count: TextPattern.textBytesMax + 1)))
    }

    @Test("S3: length, nesting and size are limited before anything recurses")
    func limits() {
        let nested = { (open: String, close: String, depth: Int) in
            String(repeating: open, count: depth) + "a" + String(repeating: close, count: depth)
        }
        for pattern in [
            nested("[", "]", 3000), nested("(", ")", 3000), nested("(", ")", 51), nested("(?:", ")*", 100),
            String(repeating: "a", count: 1001), "((a{100}){100}){100}", "(a{1000}){6}", "(", "a{2,1}", "(?=a)", "(a)\\1", "[z-a]",
        ] { #expect(throws: KeelError.self, "\(pattern.prefix(40))") { try TextPattern(pattern) } }
    }
}

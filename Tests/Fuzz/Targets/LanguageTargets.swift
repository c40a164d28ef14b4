import Contracts
import Expressions
import InferenceRPC
import MLflowAPI
import OpenIDConnect
import Outgoing
import Pipelines
import SearchLanguage
import WebAPI
import Workers

extension FuzzTarget {
    /// Scalar expressions: what parses is printed as itself, and what has types can be evaluated and be made SQL.
    static let expressions = FuzzTarget(
        name: "expressions", inputs: 22_500,
        words: [
            "AND", "OR", "NOT", "IS NULL", "BETWEEN", "IN (", "CASE WHEN", "THEN", "ELSE", "END", "TRUE", "NULL", "round(", "if(", "hour(",
            "coalesce(", "abs(", "1%", "50ms", "'t'",
            "\"q\"", "`r`", "<>", ">=", "(", ")", "+", "-", "*", "/", "%", "||", "ln(", "pow(", "least(", "greatest(", "lower(", "substr(",
            "date(",
        ]
    ) { bytes in
        let expression = try Expression(parsing: String(decoding: bytes, as: UTF8.self))
        let printed = try Expression(parsing: expression.description)
        try require(printed == expression, "it is printed as \(expression.description), which is another one")
        let types: [DataType] = [.int64, .float64, .string, .bool, .timestamp, .date, .int32, .float32]
        let typed = try expression.typed { name in types[Int(name.utf8.reduce(0) { ($0 &* 31) &+ $1 }) % types.count] }
        for number in [0.0, -1, 1e300, .nan, 86_400_000_000] {
            _ = [Double](repeating: number, count: 64).withUnsafeBufferPointer { typed.evaluateNumber($0) }
        }
        for values in [
            [Value.null], [.int(.max), .double(1e300), .string("x"), .bool(true)],
            [.int(.min), .double(-0.0), .string(""), .timestamp(Timestamp(microseconds: .max))], [.date(.max), .int(0)],
        ] {
            _ = typed.evaluate { values[$0 % values.count] }
        }
        return "\(typed.type) \(typed.sql { $0 }.utf8.count / 64)"
    }

    /// MLflow's language of filters and orders.
    static let searches = FuzzTarget(
        name: "searches", inputs: 13_000,
        words: [
            "metrics.", "params.", "tags.", "attributes.", "datasets.", "dataset.name", "run_id", "start_time", "name", "version_number",
            "AND", "LIKE", "ILIKE", "IN ('a','b')", "IS NULL",
            "IS NOT NULL", "!=", ">=", "'x'", "\"k\"", "`k`", "0.5", "-1e3", "ASC", "DESC", "--", "#", ";", "experiment_id",
            "creation_time", "last_updated_timestamp",
        ]
    ) { bytes in
        let text = String(decoding: bytes, as: UTF8.self)
        var words: [String] = []
        var refusal: (any Error)?
        let grammars: [SearchGrammar] = [.runs, .experiments, .evaluationDatasets, .models, .versions]
        for grammar in grammars {
            do { words.append("\(try grammar.parse(filter: text).map { "\($0.entity) \($0.comparator)" })") } catch { refusal = error }
            do { words.append("\(try grammar.parse(order: [text]).count)") } catch {}
        }
        do { words.append("\(try LoggedModelFilter.parse(text).count)") } catch {}
        do { words.append("\(try LoggedModelFilter.parse(order: LoggedModelOrderText(text)).order.ascending)") } catch {}
        if words.isEmpty, let refusal { throw refusal }
        return words.joined(separator: ";")
    }

    /// Short texts with a syntax of their own: instants, types, schedules, references, names, addresses, escapes.
    static let texts = FuzzTarget(
        name: "texts", inputs: 275_000,
        words: [
            "2026-11-27", "T12:00:00", ".123456", "Z", "+01:00", "list<", "tensor<float32, ", "3x-1", ">", "timestamp", "1d", "50ms",
            "* * * * *", "*/5", "jan", "mon-fri", "$name", "${",
            "$$", ".field", "fraud:", "@staging", "%41", "https://", "[::1]", "127.0.0.1", ":8080", "/path?q=1", "=", "AAAA", "00-",
            "99999999H", "\u{1b}[2J", "\u{202e}",
        ], bytesMax: 2048
    ) { bytes in
        let text = String(decoding: bytes, as: UTF8.self)
        var words: [String] = []
        func note(_ word: String, _ isTaken: Bool) { if isTaken { words.append(word) } }
        try checkTimes(bytes, note)
        if let type = try? DataType(parsing: text) {
            try require(try DataType(parsing: type.description) == type, "the type \(type) is printed as another one")
            note("type", true)
        }
        let name = ResourceRef("Endpoint", fullName: text).fullName
        // Names have neither sign; what never was one may lose a part each time.
        if text.utf8.count(where: { $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: ":") }) < 2 {
            try require(ResourceRef("Endpoint", fullName: name).fullName == name, "the name \(name) is another one the second time")
        }
        if let decoded = Base64.decode(text) {
            try require(Base64.decode(Base64.encode(decoded)) == decoded, "Base64 comes back as something else")
            note("base64", true)
        }
        _ = Base64.decodeDoubles(text)
        _ = percentDecoded(text, plusIsSpace: true)
        let visible = text.visible()
        try require(visible.visible() == visible, "what is visible has hidden characters: \(visible.debugDescription)")
        if let cron = try? Cron(text) {
            try require(try Cron(cron.description) == cron, "the schedule \(cron) is printed as another one")
            if let next = cron.next(after: Timestamp(microseconds: 1_700_000_000_000_000)) {
                try require(cron.matches(next), "\(cron) is next at \(next), which it does not match")
            }
            note("cron", true)
        }
        let pieces = Reference.pieces(text)
        _ = try Reference.resolve(.string(text)) { _ in JSON.null }
        note("reference", pieces.count > 1)
        note("timeout", Duration(timeout: text) != nil)
        note("trace", (TraceParent(text) != nil))
        if let address = NetworkAddress(literal: text) {
            try require(NetworkAddress(literal: address.description) == address, "the address \(address) is printed as another one")
            note("address \(address.isPublic)", true)
        }
        if let target = try? OutgoingTarget(text, schemes: ["http", "https"]) {
            try require(
                !target.host.isEmpty && target.host.utf8.allSatisfy { $0 > 32 && $0 < 127 }, "the host is \(target.host.debugDescription)")
            note("target", true)
        }
        if words.isEmpty { throw FuzzRefusal() }
        return words.joined(separator: " ")
    }

    private static func checkTimes(_ bytes: [UInt8], _ note: (String, Bool) -> Void) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        if let time = withBuffer(bytes, { Timestamp.parse($0) }) {
            let printed = time.description
            try require(
                Array(printed.utf8).withUnsafeBufferPointer { Timestamp.parse($0) } == time,
                "the instant \(time.microseconds) µs is printed as \(printed)")
            note("time", true)
        }
        if let day = withBuffer(bytes, { CivilDate.parse($0) }) {
            let printed = CivilDate.text(days: day)
            try require(
                Array(printed.utf8).withUnsafeBufferPointer { CivilDate.parse($0) } == day, "the day \(day) is printed as \(printed)")
            note("day", true)
        }
        if let span = TimeSpan(text) {
            try require(TimeSpan(span.description) == span, "the span of \(span.microseconds) µs is printed as \(span)")
            note("span", true)
        }
    }

    /// Tokens of identity providers and the keys that check them. The input is the header, the claims and the signature, each on a line, or a set of keys.
    static let tokens = FuzzTarget(
        name: "tokens", inputs: 125_000,
        words: [
            "\"alg\":\"RS256\"", "\"kid\":\"k\"", "\"typ\":\"JWT\"", "\"crit\":[]", "\"iss\":", "\"aud\":\"keel\"", "\"sub\":\"a\"",
            "\"exp\":4102444800", "\"nbf\":0", "\"iat\":1764000000",
            "\"groups\":[\"g\"]", "\"act\":{\"sub\":\"x\"}", "\"keys\":[", "\"kty\":\"EC\"", "\"crv\":\"P-256\"", "\"x\":\"", "\"y\":\"",
            "\"n\":\"", "\"e\":\"AQAB\"", "1e308", "-1e18",
        ]
    ) { bytes in
        let issuer = try OpenIDIssuer(name: "people", url: "https://id.example", audiences: ["keel"])
        let now = Timestamp(microseconds: 1_764_000_100_000_000)
        _ = try? WebToken(String(decoding: bytes, as: UTF8.self))
        if let json = try? JSON.parse(bytes), let keys = try? IssuerKey.all(in: json) { return "\(min(keys.count, 3)) keys" }
        let parts = bytes.split(separator: 10, omittingEmptySubsequences: false).map { part in
            Base64.encode(Array(part)).filter { $0 != "=" }.map { $0 == "+" ? "-" : $0 == "/" ? "_" : String($0) }.joined()
        }
        let token = try WebToken(parts.joined(separator: "."))
        _ = try TokenClaims(token.claims, of: issuer, at: now)
        return "claims"
    }

    /// The packages that a model needs, and the little of YAML around them.
    static let requirements = FuzzTarget(
        name: "requirements", inputs: 90_000,
        words: [
            "numpy==2.4.6", "[extra]", ">=1.0,<2", "; python_version < \"3.12\"", "--hash=sha256:", "\\\n", "# x", " @ ", "-r ",
            "dependencies:\n", "- pip:\n", "  - ", "python: 3.11.7", "'", "\"",
            "\r\n", "~=", "===", "(", ")",
        ]
    ) { bytes in
        let text = String(decoding: bytes, as: UTF8.self)
        var word = ""
        if (try? NestedList(parsing: text)) != nil { word += "list " }
        do throws(KeelError) {
            let requirements = try Requirements(parsing: text)
            let again = try Requirements(parsing: requirements.lines.joined(separator: "\n"))
            guard again == requirements else { throw KeelError(.internal, "its lines \(requirements.lines) are read as \(again.lines)") }
            _ = requirements.names
            word += "\(min(requirements.lines.count, 4))"
        } catch { if word.isEmpty || error.code == .internal { throw error } }
        return word
    }
}

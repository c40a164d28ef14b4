import Contracts
import Storage
import Testing
import Tracking

@Suite("Searching runs")
struct SearchTests {
    @Test(
        "a filter that is wrong says what is wrong",
        arguments: [
            ("metrics.auc > 'a'", "Expected numeric value type for metric"),
            ("params.x = 3", "Expected a quoted string value for parameter"),
            ("metric.auc LIKE 'a'", "Invalid comparator 'LIKE'"), ("foo.bar = 'x'", "Invalid entity type 'foo'"),
            ("colour = 'red'", "Invalid attribute key 'colour'"),
            ("metrics.a > 1 OR metrics.b > 2", "Invalid clause(s) in filter string: 'OR"), ("tags.a = 'x", "a quote is not closed"),
            ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params"),
            ("status IN ('A')", "Only [\"run_id\"] attributes support"),
            ("run_id IN ()", "expected a non-empty list of string values"), ("dataset.colour = 'x'", "Invalid dataset key"),
            ("tags.a", "Invalid clause(s)"),
            ("start_time > '3'", "Expected numeric value type for numeric attribute: start_time"), ("tags.a = b", "either not quoted"),
        ])
    func wrong(filter: String, words: String) async throws {
        let f = try await Fixture()
        do {
            _ = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter), f.read)
            Issue.record("accepted: \(filter)")
        } catch let error as KeelError {
            #expect(error.code == .invalidArgument)
            #expect(error.message.contains(words), "\(error.message)")
        }
    }

    @Test("no filter, however broken, does anything but parse or say that it is invalid")
    func fuzz() async throws {
        let f = try await Fixture()
        var random = SplitMix(seed: 7)
        let pieces = [
            "metrics", ".", "auc", "`a b`", "\"k\"", "'v'", "'", "\"", "`", " AND ", " or ", "=", "!=", ">", "<=", "==", "LIKE", " ILIKE ",
            " IN ", "NOT", "(", ")", ",",
            "1", "-2.5", "1e", "1e999", "NaN", "IS", " NULL", "tags", "params.x", "\u{0}", "é", "😀", ";", "--", "%", "run_id", "start_time",
        ]
        for _ in 0..<3000 {
            let filter = (0..<Int.random(in: 1...9, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            do {
                _ = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter), f.read)
            } catch let error as KeelError { #expect(error.code == .invalidArgument, "\(filter): \(error)") }
        }
    }

    @Test("every filter, order and page agrees with a plain evaluation over the runs in memory")
    func oracle() async throws {
        let f = try await Fixture()
        var random = SplitMix(seed: 11)
        var runs: [Run] = []
        for i in 0..<60 {
            let run = try await f.tracking.createRun(experimentID: "0", name: "run\(i % 7)", startedAt: at(Int64(i / 3)), f.write)
            var metrics: [Metric] = []
            for key in ["a", "b"] where Bool.random(using: &random) {
                metrics.append(Metric(key, [Double.nan, -1, 0, 0.5, 2].randomElement(using: &random) ?? 0, at: at(1)))
            }
            var (params, tags): ([KeyValue], [KeyValue]) = ([], [])
            for key in ["p", "q r"] where Bool.random(using: &random) {
                params.append(KeyValue(key, ["x", "X", "xy", "50%", "a\\b", ""].randomElement(using: &random) ?? ""))
            }
            if Bool.random(using: &random) {
                tags.append(KeyValue("t", ["x", "X", "long " + String(repeating: "z", count: 300)].randomElement(using: &random) ?? ""))
            }
            try await f.tracking.logBatch(runID: run.id, metrics: metrics, params: params, tags: tags, f.write)
            runs.append(try await f.tracking.run(id: run.id, f.read))
        }
        for _ in 0..<250 {
            let clauses = (0..<Int.random(in: 0...3, using: &random)).map { _ in OracleClause.random(&random) }
            let orders = (0..<Int.random(in: 0...2, using: &random)).map { OracleOrder.random($0, &random) }
            var search = RunSearch(
                experimentIDs: ["0"], filter: clauses.map(\.text).joined(separator: " and "), orderBy: orders.map(\.text),
                pageSize: Int.random(in: 1...25, using: &random))
            var found: [String] = []
            repeat {
                let page = try await f.tracking.searchRuns(search, f.read)
                found += page.items.map(\.id)
                search.pageToken = page.nextToken
            } while search.pageToken != nil
            let expected = runs.filter { run in clauses.allSatisfy { $0.holds(run) } }.sorted { OracleOrder.precedes($0, $1, orders) }.map(
                \.id)
            #expect(found == expected, "\(search.filter ?? "") order by \(search.orderBy)")
        }
    }

    @Test("a page token is good only for the question it came from")
    func tokens() async throws {
        let f = try await Fixture()
        for _ in 0..<5 { _ = try await f.tracking.createRun(experimentID: "0", f.write) }
        let token = try #require(try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], pageSize: 2), f.read).nextToken)
        for (filter, bad) in [
            ("tags.a = 'x'", token), ("", "zz"), ("", String(token.dropLast(2))), ("", String(repeating: "7", count: 100_000)),
        ] {
            await #expect(throws: KeelError.self) {
                _ = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter, pageSize: 2, pageToken: bad), f.read)
            }
        }
    }

    @Test("searches are answered by indexes, without a sort for the standard order")
    func plans() async throws {
        let f = try await Fixture()
        func plan(_ search: RunSearch) async throws -> String {
            try await f.database.read { try search.explain(on: $0) }.joined(separator: "\n")
        }
        let standard = try await plan(RunSearch(experimentIDs: ["0"]))
        #expect(standard.contains("USING INDEX tracking_runs_started") && !standard.contains("TEMP B-TREE"), "\(standard)")
        for (filter, index) in [
            ("params.lr = '0.1'", "tracking_params_value"), ("tags.team = 'ops'", "tracking_tags_value"),
            ("metrics.auc = 0.5", "tracking_latest_order"), ("metrics.auc > 0.5", "tracking_latest_order"),
            ("tags.team LIKE 'o%'", "tracking_tags_value"), ("run_name = 'a'", "tracking_tags_value"),
            ("status = 'FAILED'", "tracking_runs_status"),
        ] {
            let text = try await plan(RunSearch(experimentIDs: ["0"], filter: filter))
            #expect(text.contains(index) && !text.contains("SCAN r"), "\(filter): \(text)")
        }
    }

    @Test("a filter that finds many runs is tested on the walk in the order asked for, which no sort precedes")
    func walks() async throws {
        let f = try await Fixture()
        func plan(_ search: RunSearch) async throws -> String {
            try await f.database.read { try search.explain(on: $0, candidatesMax: -1) }.joined(separator: "\n")
        }
        for filter in ["", "metrics.auc > 0.5", "params.lr = '0.1'", "tags.team LIKE 'o%'", "metrics.auc > 0.5 AND tags.team != 'ops'"] {
            let text = try await plan(RunSearch(experimentIDs: ["0"], filter: filter))
            #expect(text.hasPrefix("SEARCH r USING INDEX tracking_runs_started") && !text.contains("TEMP B-TREE FOR ORDER BY"), "\(filter): \(text)")
        }
        for (order, index) in [
            ("metrics.auc DESC", "tracking_latest_order"), ("metrics.auc", "tracking_latest_order"), ("tags.team", "tracking_tags_value"),
            ("params.lr DESC", "tracking_params_value"),
        ] {
            // Runs with equal values are sorted among themselves; the values themselves come from the index.
            let text = try await plan(RunSearch(experimentIDs: ["0"], filter: order.hasPrefix("m") ? "metrics.auc > 0.5" : "tags.team = 'a'", orderBy: [order]))
            #expect(text.hasPrefix("SEARCH o0 USING") && text.contains(index) && !text.contains("TEMP B-TREE FOR ORDER BY"), "\(order): \(text)")
        }
    }

    @Test("whatever leads, and however small the pages, the same runs come in the same order")
    func pages() async throws {
        let f = try await Fixture()
        var random = SplitMix(seed: 11)
        for i in 0..<60 {
            let tags = i % 3 == 0 ? [] : [KeyValue("team", ["ops", "risk", "Übung", ""][Int.random(in: 0..<4, using: &random)])]
            let run = try await f.tracking.createRun(experimentID: "0", name: "r\(i % 50)", startedAt: at(Int64(1000 + i / 2)), tags: tags, f.write)
            let metric = [0.5, 0.5, .nan, 1, -2, 1e300][Int.random(in: 0..<6, using: &random)]
            if i % 4 != 0 { try await f.tracking.logMetric(runID: run.id, Metric("auc", metric, at: at(5)), f.write) }
            if i % 5 != 0 { try await f.tracking.logParam(runID: run.id, KeyValue("lr", String(i % 7)), f.write) }
        }
        for filter in ["", "metrics.auc > 0", "metrics.auc != 0.5", "params.lr = '3'", "tags.team LIKE 'o%'", "tags.team IS NULL", "run_name LIKE 'r1%'"] {
            for order in [[], ["metrics.auc DESC"], ["metrics.auc"], ["params.lr DESC", "metrics.auc"], ["tags.team"], ["end_time"], ["status", "start_time"]] {
                let whole = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter, orderBy: order), f.read).items.map(\.id)
                for size in [1, 7, 59] {
                    var (found, token): ([String], String?) = ([], nil)
                    repeat {
                        let page = try await f.tracking.searchRuns(
                            RunSearch(experimentIDs: ["0"], filter: filter, orderBy: order, pageSize: size, pageToken: token), f.read)
                        #expect(page.items.count <= size)
                        found += page.items.map(\.id)
                        token = page.nextToken
                    } while token != nil
                    #expect(found == whole, "\(filter) \(order) \(size)")
                }
                let walked = try await f.database.read { db in
                    try RunSearch(experimentIDs: ["0"], filter: filter, orderBy: order).ids(on: db, candidatesMax: -1)
                }
                #expect(walked == whole, "\(filter) \(order)")
            }
        }
    }

    @Test("no text of a filter or an order becomes SQL")
    func noInjection() async throws {
        let f = try await Fixture()
        for text in ["x' OR 1 = 1 --", "'; DROP TABLE tracking_runs; --", "\\", "%_\\%", "\u{0}", "🚀'\"`"] {
            let inner = text.replacing("'", with: "''").replacing("`", with: "")
            for filter in ["tags.`\(inner)` = '\(inner)'", "params.a LIKE '\(inner)'", "metrics.`\(inner)` > 1", "run_name ILIKE '\(inner)'"] {
                _ = try? await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter, orderBy: ["tags.`\(inner)`"]), f.read)
                let statement = try? await f.database.read { _ in try RunSearch(experimentIDs: ["0"], filter: filter).sql() }
                #expect(statement?.contains("DROP") != true && statement?.contains("1 = 1") != true && statement?.contains("🚀") != true)
            }
        }
        #expect(try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"]), f.read).items.isEmpty)
    }
}

/// A seeded generator, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// A clause as text, and what it means.
struct OracleClause: Sendable {
    let text: String
    let holds: @Sendable (Run) -> Bool

    static func random(_ random: inout SplitMix) -> OracleClause {
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1:
            let (key, sign, number) = (
                ["a", "b"].randomElement(using: &random)!, [">", ">=", "<", "<=", "=", "!="].randomElement(using: &random)!,
                [-1, 0, 0.5, 2].randomElement(using: &random)!
            )
            return OracleClause(text: "metrics.\(key) \(sign) \(number)") { run in
                guard let value = run.metrics.first(where: { $0.key == key })?.value else { return false }
                return compare(value, number, sign)
            }
        case 2:
            let (key, sign, text) = (
                ["p", "q r"].randomElement(using: &random)!, ["=", "!=", "LIKE", "ILIKE"].randomElement(using: &random)!,
                ["x", "X%", "%", "50%", "a\\b", "_"].randomElement(using: &random)!
            )
            return OracleClause(text: "params.`\(key)` \(sign) '\(text)'") { run in
                run.params.first { $0.key == key }.map { match($0.value, text, sign) } ?? false
            }
        case 3:
            let text = ["x", "long " + String(repeating: "z", count: 300), "long " + String(repeating: "z", count: 299)].randomElement(
                using: &random)!
            return OracleClause(text: "tag.t = '\(text)'") { run in run.tags.contains { $0.key == "t" && $0.value == text } }
        case 4:
            let isNull = Bool.random(using: &random)
            return OracleClause(text: "tags.t IS \(isNull ? "" : "not ")NULL") { run in run.tags.contains { $0.key == "t" } != isNull }
        default:
            let (sign, number) = ([">", "<", "=", "!="].randomElement(using: &random)!, Int64.random(in: 0...20, using: &random))
            return OracleClause(text: "attributes.start_time \(sign) \(number)") {
                compare(Double($0.startedAt.milliseconds), Double(number), sign)
            }
        }
    }

    private static func compare(_ a: Double, _ b: Double, _ sign: String) -> Bool {
        switch sign {
        case ">": a > b
        case ">=": a >= b
        case "<": a < b
        case "<=": a <= b
        case "=": a == b
        default: a != b
        }
    }

    private static func match(_ value: String, _ text: String, _ sign: String) -> Bool {
        switch sign {
        case "=": value == text
        case "!=": value != text
        case "LIKE": like(Array(value), Array(text))
        default: like(Array(value.lowercased()), Array(text.lowercased()))
        }
    }

    private static func like(_ value: [Character], _ pattern: [Character]) -> Bool {
        guard let first = pattern.first else { return value.isEmpty }
        if first == "%" { return (0...value.count).contains { like(Array(value[$0...]), Array(pattern.dropFirst())) } }
        guard let head = value.first, first == "_" || first == head else { return false }
        return like(Array(value.dropFirst()), Array(pattern.dropFirst()))
    }
}

struct OracleOrder: Sendable {
    let text: String
    let ascending: Bool
    /// The rank (values, NaN, absent) and the value.
    let key: @Sendable (Run) -> (Int, Double, String)

    static func random(_ place: Int, _ random: inout SplitMix) -> OracleOrder {
        let ascending = Bool.random(using: &random)
        let direction = ascending ? ["", " ASC", " asc"].randomElement(using: &random)! : " DESC"
        if place == 0, Bool.random(using: &random) {
            return OracleOrder(text: "metrics.a" + direction, ascending: ascending) { run in
                guard let value = run.metrics.first(where: { $0.key == "a" })?.value else { return (2, 0, "") }
                return value.isNaN ? (1, 0, "") : (0, value, "")
            }
        }
        if place == 0 {
            return OracleOrder(text: "params.`q r`" + direction, ascending: ascending) { run in
                run.params.first { $0.key == "q r" }.map { (0, 0, $0.value) } ?? (1, 0, "")
            }
        }
        return OracleOrder(text: "attributes.run_name" + direction, ascending: ascending) { (0, 0, $0.name) }
    }

    static func precedes(_ a: Run, _ b: Run, _ orders: [OracleOrder]) -> Bool {
        for order in orders {
            let (x, y) = (order.key(a), order.key(b))
            if x.0 != y.0 { return x.0 < y.0 }
            if x.1 != y.1 { return (x.1 < y.1) == order.ascending }
            if x.2 != y.2 { return Array(x.2.utf8).lexicographicallyPrecedes(Array(y.2.utf8)) == order.ascending }
        }
        if a.startedAt != b.startedAt { return a.startedAt > b.startedAt }
        return a.id < b.id
    }
}

import Contracts
import Foundation
import SearchLanguage
import Storage
import TestSupport
import Testing
import Tracking

@Suite("Searching runs")
struct SearchTests {
    @Test("no filter, however broken, does anything but parse or say that it is invalid")
    func fuzz() async throws {
        let f = try await Fixture()
        var random = Seeded(7)
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
        var random = Seeded(11)
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
            var search = try RunSearch(
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
            #expect(found == expected, "\(search.clauses) order by \(search.orders)")
        }
    }

    @Test("random bytes as a filter or an order only ever say that they are invalid")
    func randomBytes() async throws {
        let f = try await Fixture()
        var random = Seeded(23)
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            let text = String(decoding: bytes, as: UTF8.self)
            for (filter, order) in [(text, []), ("", [text])] {
                do {
                    _ = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter, orderBy: order), f.read)
                } catch let error as KeelError { #expect(error.code == .invalidArgument, "\(text.debugDescription): \(error)") }
            }
        }
    }

    @Test(
        "SQL in keys, values and lists is only text",
        arguments: ["x' OR '1'='1", "'; DROP TABLE tracking_runs; --", "?", "x') OR 1=1 --", "%' ESCAPE 'x"])
    func injection(text: String) async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", name: "kept", f.write)
        for filter in [
            "params.`\(text)` = 'v'", "tags.\"\(text)\" LIKE '%'", "metrics.`\(text)` > 0", "tags.a = \"\(text)\"",
            "tags.a LIKE \"\(text)\"",
            "run_id IN (\"\(text)\")",
        ] {
            let page = try await f.tracking.searchRuns(RunSearch(experimentIDs: ["0"], filter: filter), f.read)
            #expect(page.items.isEmpty, "\(filter)")
        }
        let ordered = try await f.tracking.searchRuns(
            RunSearch(experimentIDs: ["0"], filter: nil, orderBy: ["metrics.`\(text)` DESC"]), f.read)
        #expect(ordered.items.map(\.id) == [run.id])
    }

    /// 3,000 runs, two of each start; most have the metric `auc`, some as NaN.
    private func manyRuns() async throws -> Fixture {
        let f = try await Fixture()
        try await f.database.write { tx in
            try tx.execute(
                """
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                INSERT INTO tracking_runs (id, experiment_id, name, user_id, status, start_ms, artifact_uri, lifecycle)
                SELECT 'r' || (10000 + i), 0, 'run', 'u', 'FINISHED', i / 2, 'a', 'active' FROM n
                """)
            try tx.execute(
                """
                INSERT INTO tracking_latest_metrics (run_id, key, value, is_nan, at_ms, step, series)
                SELECT id, 'auc', CASE WHEN start_ms % 7 = 0 THEN 0 ELSE start_ms % 50 END, CASE WHEN start_ms % 7 = 0 THEN 1 ELSE 0 END, 1, 0,
                    row_number() OVER (ORDER BY id)
                FROM tracking_runs WHERE start_ms % 11 <> 0
                """)
        }
        return f
    }

    @Test("a filter finds the same runs in the same order, whether its hits lead or the runs are walked")
    func plansAgree() async throws {
        let f = try await manyRuns()
        let runs = try await all(RunSearch(experimentIDs: ["0"]), f)
        @Sendable func value(_ run: Run) -> Double { run.metrics.first?.value ?? .nan }
        for (bound, isWalked) in [(10.0, true), (40, true), (48, false), (49.5, false)] {
            let search = try RunSearch(experimentIDs: ["0"], filter: "metrics.auc >= \(bound)", pageSize: 60)
            let plan = try await f.database.read(in: .default) { try search.explain(on: $0) }.joined(separator: "\n")
            #expect(plan.contains("TEMP B-TREE") == !isWalked, "\(bound): \(plan)")
            #expect(try await all(search, f).map(\.id) == runs.filter { value($0) >= bound }.map(\.id))
            let ordered = try RunSearch(
                experimentIDs: ["0"], filter: "metrics.auc >= \(bound)", orderBy: ["metrics.auc DESC"], pageSize: 60)
            let ordering = try await f.database.read(in: .default) { try ordered.explain(on: $0) }.joined(separator: "\n")
            #expect(ordering.contains("COVERING INDEX tracking_latest_value"), "\(ordering)")
            let order = OracleOrder(text: "", ascending: false) { (0, value($0), "") }
            #expect(
                try await all(ordered, f).map(\.id)
                    == runs.filter { value($0) >= bound }.sorted { OracleOrder.precedes($0, $1, [order]) }.map(\.id))
        }
    }

    @Test("a filter of more clauses than a statement joins finds the runs that all of them find")
    func manyClauses() async throws {
        let f = try await manyRuns()
        let last = "metrics.auc >= 48"
        let others = (1...60).map { "metrics.auc > \(-$0)" } + ["params.no IS NULL", "metrics.auc != 7", "status = 'FINISHED'"]
        let found = try await all(RunSearch(experimentIDs: ["0"], filter: (others + [last]).joined(separator: " AND ")), f)
        #expect(!found.isEmpty)
        #expect(try await all(RunSearch(experimentIDs: ["0"], filter: last), f).map(\.id) == found.map(\.id))
        #expect(
            try await all(RunSearch(experimentIDs: ["0"], filter: (others + ["metrics.auc < 0"]).joined(separator: " AND ")), f).isEmpty)
    }

    @Test("the runs of several experiments are merged from their indexes, page by page, without sorting them all")
    func severalExperiments() async throws {
        let f = try await manyRuns()
        let other = try await f.tracking.createExperiment(name: "other", f.write)
        try await f.database.write { tx in
            _ = try tx.execute("UPDATE tracking_runs SET experiment_id = ? WHERE start_ms % 3 = 0", [.int(try #require(Int64(other)))])
        }
        // There is no experiment 77.
        let search = try RunSearch(experimentIDs: ["0", other, "77"], filter: "metrics.auc >= 5", pageSize: 170)
        let plan = try await f.database.read(in: .default) { try search.explain(on: $0) }.joined(separator: "\n")
        #expect(plan.components(separatedBy: "INDEX tracking_runs_started (experiment_id=? AND lifecycle=?").count == 3, "\(plan)")
        let found = try await all(search, f)
        let halves = try await all(RunSearch(experimentIDs: ["0"]), f) + all(RunSearch(experimentIDs: [other]), f)
        #expect(halves.count == 3000)
        #expect(
            found.map(\.id)
                == halves.filter { ($0.metrics.first?.value ?? .nan) >= 5 }.sorted { OracleOrder.precedes($0, $1, []) }.map(\.id))
    }

    @Test("among many runs an order by a metric is read from its index, page by page, and tells values, NaN and absence apart")
    func metricOrder() async throws {
        let f = try await manyRuns()
        for direction in ["ASC", "DESC"] {
            let search = try RunSearch(experimentIDs: ["0"], filter: nil, orderBy: ["metrics.auc \(direction)"], pageSize: 700)
            let plan = try await f.database.read(in: .default) { try search.explain(on: $0) }.joined(separator: "\n")
            #expect(plan.contains("COVERING INDEX tracking_latest_value") && !plan.contains("SCAN"), "\(plan)")
            // Only runs with NaN, which have no order of their own, are sorted; values come from the index.
            #expect(plan.components(separatedBy: "TEMP B-TREE FOR ORDER BY").count <= 2, "\(plan)")
            let found = try await all(search, f)
            #expect(found.count == 3000 && Set(found.map(\.id)).count == 3000)
            let order = OracleOrder(text: "", ascending: direction == "ASC") { run in
                guard let value = run.metrics.first?.value else { return (2, 0, "") }
                return value.isNaN ? (1, 0, "") : (0, value, "")
            }
            #expect(found.map(\.id) == found.sorted { OracleOrder.precedes($0, $1, [order]) }.map(\.id))
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
            try await f.database.read(in: .default) { try search.explain(on: $0) }.joined(separator: "\n")
        }
        let standard = try await plan(RunSearch(experimentIDs: ["0"]))
        #expect(standard.contains("USING INDEX tracking_runs_started") && !standard.contains("TEMP B-TREE"), "\(standard)")
        for (filter, index) in [
            ("params.lr = '0.1'", "tracking_params_value (key=? AND <expr>=?)"),
            ("tags.team = 'ops'", "tracking_tags_value (key=? AND <expr>=?)"),
            ("run_name = 'a'", "tracking_tags_value (key=? AND <expr>=?)"),
            ("run_name LIKE 'a%'", "tracking_tags_value (key=? AND <expr>>? AND <expr><?)"), ("status = 'FAILED'", "tracking_runs_status"),
            ("metrics.auc = 0.5", "tracking_latest_value"),
            ("metrics.auc > 0.5", "tracking_latest"), ("tags.team LIKE 'o%'", "tracking_tags"),
        ] {
            let text = try await plan(RunSearch(experimentIDs: ["0"], filter: filter))
            #expect(text.contains(index) && !text.contains("SCAN"), "\(filter): \(text)")
        }
        let ordered = try await plan(RunSearch(experimentIDs: ["0"], filter: nil, orderBy: ["metrics.auc DESC"]))
        #expect(!ordered.contains("SCAN"), "\(ordered)")
    }
}

/// The runs of every page.
func all(_ search: RunSearch, _ f: Fixture) async throws -> [Run] {
    var (search, found): (RunSearch, [Run]) = (search, [])
    repeat {
        let page = try await f.tracking.searchRuns(search, f.read)
        found += page.items
        search.pageToken = page.nextToken
    } while search.pageToken != nil
    return found
}

/// A clause as text, and what it means.
struct OracleClause: Sendable {
    let text: String
    let holds: @Sendable (Run) -> Bool

    static func random(_ random: inout Seeded) -> OracleClause {
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

    static func random(_ place: Int, _ random: inout Seeded) -> OracleOrder {
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

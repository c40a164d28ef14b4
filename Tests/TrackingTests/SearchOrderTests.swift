import Contracts
import SearchLanguage
import Storage
import TestSupport
import Testing
import Tracking

/// Orders among so many runs that indexes give them.
@Suite("Orders of many runs")
struct SearchOrderTests {
    /// 6,000 runs: most in experiment 0, the others in 40 experiments; some deleted, some that go on. Of most things one value is shared by more
    /// runs than are sorted, some texts are alike in all that an index holds of them, and some runs have none.
    private func varied() async throws -> (Fixture, experiments: [String]) {
        let f = try await Fixture()
        var (random, experiments) = (Seeded(5), [String]())
        for i in 0..<40 { experiments.append(try await f.tracking.createExperiment(name: "e\(i)", f.write)) }
        func often<T>(_ value: T, _ others: [T]) -> T {
            Int.random(in: 0..<10, using: &random) < 6 ? value : others.randomElement(using: &random) ?? value
        }
        let long = String(repeating: "z", count: 199)
        var statements: [(String, [Value])] = []
        for i in 0..<6000 {
            let id = Value.string("r\(20_000 - i * 3)")
            let end = Int.random(in: 0..<8, using: &random) == 0 ? Value.null : .int(often(900, Array(0...2000)))
            statements.append(
                (
                    """
                    INSERT INTO tracking_runs (id, experiment_id, name, user_id, status, start_ms, end_ms, artifact_uri, lifecycle)
                    VALUES (?, ?, ?, 'u', ?, ?, ?, 'a', ?)
                    """,
                    [
                        id, .int(Int64(i % 10 == 0 ? experiments[i / 10 % 40] : "0") ?? 0),
                        .string(often("base", ["", "a", "ä", "run \(i % 50)"])),
                        .string(often("FINISHED", ["RUNNING", "FAILED", "KILLED", "SCHEDULED"])), .int(Int64(i / 3)), end,
                        .string(i % 20 == 7 ? "deleted" : "active"),
                    ]
                ))
            func add(_ table: String, _ key: String, _ value: String) {
                statements.append(("INSERT INTO \(table) (run_id, key, value) VALUES (?, ?, ?)", [id, .string(key), .string(value)]))
            }
            if i % 9 != 4 { add("tracking_params", "opt", often("adam", ["", "SGD", "sgd", "lion", "adam2", "Ä"])) }
            add("tracking_params", "lr", "\(Double.random(in: 0...1, using: &random))")
            if i % 9 != 5 { add("tracking_tags", "note", often(long + "zz", [long, long + "y", long + "zzz", long + "za", "b"])) }
            if i % 700 == 3 { add("tracking_tags", "rare", "\(i % 5)") }
            if i % 9 != 6 {
                let value = often(0.5, [-1, 0, 0.25, 0.75, Double(i), .nan])
                statements.append(
                    (
                        """
                        INSERT INTO tracking_latest_metrics (run_id, key, value, is_nan, at_ms, step, series) VALUES (?, 'acc', ?, ?, 1, 0, ?)
                        """, [id, .double(value.isNaN ? 0 : value), .int(value.isNaN ? 1 : 0), .int(Int64(i) + 1)]
                    ))
            }
        }
        let filled = statements
        try await f.database.write { tx in for (sql, values) in filled { try tx.execute(sql, values) } }
        return (f, experiments)
    }

    private static func order(_ name: String, _ ascending: Bool) -> OracleOrder {
        let key = String(name.split(separator: ".").last ?? "")
        return OracleOrder(text: "\(name) \(ascending ? "ASC" : "DESC")", ascending: ascending) { run in
            switch name {
            case "attributes.end_time": return run.endedAt.map { (0, Double($0.milliseconds), "") } ?? (1, 0, "")
            case "attributes.start_time": return (0, Double(run.startedAt.milliseconds), "")
            case "attributes.run_name": return (0, 0, run.name)
            case "attributes.status": return (0, 0, run.status.rawValue)
            case "metrics.acc":
                guard let value = run.metrics.first?.value else { return (2, 0, "") }
                return value.isNaN ? (1, 0, "") : (0, value, "")
            default:
                let texts = name.hasPrefix("params") ? run.params : run.tags
                return texts.first { $0.key == key }.map { (0, 0, $0.value) } ?? (1, 0, "")
            }
        }
    }

    private static let names = [
        "attributes.end_time", "attributes.start_time", "attributes.run_name", "attributes.status", "metrics.acc", "params.opt",
        "params.lr",
        "params.none", "tags.note", "tags.rare",
    ]

    private static let clauses = [
        OracleClause(text: "metrics.acc >= 0.5") { ($0.metrics.first?.value ?? .nan) >= 0.5 },
        OracleClause(text: "metrics.acc != 0.5") { $0.metrics.first.map { $0.value != 0.5 } ?? false },
        OracleClause(text: "params.opt = 'adam'") { $0.params.contains { $0.key == "opt" && $0.value == "adam" } },
        OracleClause(text: "params.opt != 'adam'") { $0.params.contains { $0.key == "opt" && $0.value != "adam" } },
        OracleClause(text: "params.opt LIKE 'a%'") { $0.params.contains { $0.key == "opt" && $0.value.hasPrefix("a") } },
        OracleClause(text: "params.opt IS NULL") { !$0.params.contains { $0.key == "opt" } },
        OracleClause(text: "tags.note IS NOT NULL") { $0.tags.contains { $0.key == "note" } },
        OracleClause(text: "attributes.status = 'FAILED'") { $0.status == .failed },
        OracleClause(text: "attributes.status != 'FINISHED'") { $0.status != .finished },
        OracleClause(text: "attributes.end_time >= 900") { ($0.endedAt?.milliseconds ?? -1) >= 900 },
        OracleClause(text: "attributes.end_time > 1900") { ($0.endedAt?.milliseconds ?? -1) > 1900 },
        OracleClause(text: "attributes.start_time >= 300") { $0.startedAt.milliseconds >= 300 },
        OracleClause(text: "attributes.start_time < 70") { $0.startedAt.milliseconds < 70 },
        OracleClause(text: "attributes.start_time > 299.5") { $0.startedAt.milliseconds >= 300 },
    ]

    @Test("every order, with every filter and page, agrees with a plain sort of the runs in memory")
    func oracle() async throws {
        let (f, experiments) = try await varied()
        let runs = try await all(RunSearch(experimentIDs: ["0"] + experiments, view: .all, pageSize: 50_000), f)
        #expect(runs.count == 6000)
        var random = Seeded(17)
        for i in 0..<160 {
            let (first, second) = (SearchOrderTests.names[i % 10], SearchOrderTests.names.randomElement(using: &random) ?? "")
            var orders = [SearchOrderTests.order(first, i / 10 % 2 == 0)]
            if i % 4 == 3, second != first { orders.append(SearchOrderTests.order(second, Bool.random(using: &random))) }
            let clauses = i % 3 == 0 ? [] : SearchOrderTests.clauses.shuffled(using: &random).prefix(Int.random(in: 1...2, using: &random))
            let places = [["0"], ["0"], ["0", experiments[3]], ["0"] + experiments].randomElement(using: &random) ?? []
            let view = [ViewType.activeOnly, .activeOnly, .deletedOnly, .all].randomElement(using: &random) ?? .all
            let search = try RunSearch(
                experimentIDs: places, filter: clauses.map(\.text).joined(separator: " AND "), view: view, orderBy: orders.map(\.text),
                pageSize: Int.random(in: 150...2500, using: &random))
            let expected = runs.filter { run in
                places.contains(run.experimentID) && (view == .all || (run.lifecycle == .active) == (view == .activeOnly))
                    && clauses.allSatisfy { $0.holds(run) }
            }.sorted { OracleOrder.precedes($0, $1, orders) }.map(\.id)
            let found = try await all(search, f).map(\.id)
            #expect(
                found == expected,
                "\(search.clauses) order by \(search.orders) in \(places.count), \(view)")
        }
    }

    /// The plans of the first page and of one in the middle.
    private func plans(_ search: RunSearch, _ f: Fixture) async throws -> [String] {
        var (search, plans) = (search, [String]())
        for _ in 0..<2 {
            let asked = search
            plans.append(try await f.database.read(in: .default) { try asked.explain(on: $0) }.joined(separator: "\n"))
            for _ in 0..<2 { search.pageToken = try await f.tracking.searchRuns(search, f.read).nextToken }
        }
        return plans
    }

    @Test(
        "indexes give the order of a page and where it begins; only runs of one value are sorted",
        arguments: [
            ("attributes.end_time", ["tracking_runs_ended", "tracking_runs_unended"], "end_ms"),
            ("attributes.run_name", ["tracking_runs_named"], "name"), ("attributes.status", ["tracking_runs_status"], "start_ms<?"),
            ("params.opt", ["tracking_params_value", "tracking_runs_started"], "<expr>"),
            ("params.lr", ["tracking_params_value", "tracking_runs_started"], "<expr>"),
            ("metrics.acc", ["COVERING INDEX tracking_latest_value", "tracking_runs_started"], "value"),
        ])
    func indexes(order: String, names: [String], bound: String) async throws {
        let (f, _) = try await varied()
        for direction in ["ASC", "DESC"] {
            let search = try RunSearch(experimentIDs: ["0"], filter: nil, orderBy: ["\(order) \(direction)"], pageSize: 100)
            let plans = try await plans(search, f)
            let (first, middle) = (plans[0], plans[1])
            for name in names { #expect(first.contains(name), "\(name): \(first)") }
            let seek = bound.contains("<?") ? bound : bound + (direction == "ASC" ? ">?" : "<?")
            #expect(middle.contains(seek), "\(middle)")
            for plan in [first, middle] {
                // Runs whose metric is NaN have no order of their own.
                let sorts = plan.components(separatedBy: "TEMP B-TREE FOR ORDER BY").count - 1
                #expect(sorts <= (order.hasPrefix("metrics") ? 1 : 0) && !plan.contains("SCAN"), "\(plan)")
            }
        }
    }

    @Test(
        "a page of runs that share a value with very many is walked, not sorted",
        arguments: ["attributes.run_name", "params.opt", "metrics.acc"])
    func shared(order: String) async throws {
        let (f, _) = try await varied()
        var search = try RunSearch(experimentIDs: ["0"], filter: nil, orderBy: ["\(order) DESC"], pageSize: 400)
        var last: Run?
        var walked = 0
        repeat {
            let (page, asked) = (try await f.tracking.searchRuns(search, f.read), search)
            let plan = try await f.database.read(in: .default) { try asked.explain(on: $0, first: 1) }.joined(separator: "\n")
            let value = last.map(SearchOrderTests.order(order, false).key) ?? (0, 0, "")
            if value.1 == 0.5 || ["base", "adam"].contains(value.2) {
                #expect(!plan.contains("TEMP B-TREE"), "\(plan)")
                walked += 1
            }
            (last, search.pageToken) = (page.items.last, page.nextToken)
        } while search.pageToken != nil
        #expect(walked >= 5)
    }

    @Test("a clause on one time does not take an order by another from its index, unless it finds few runs")
    func times() async throws {
        let (f, _) = try await varied()
        for (filter, order, index, isSorted) in [
            ("end_time >= 5", "start_time DESC", "tracking_runs_started", false),
            ("end_time > 1990", "start_time DESC", "tracking_runs_ended", true),
            ("start_time >= 5", "end_time DESC", "tracking_runs_ended", false),
            ("start_time < 9", "end_time ASC", "tracking_runs_started", true),
        ] {
            let search = try RunSearch(experimentIDs: ["0"], filter: filter, orderBy: [order], pageSize: 50)
            let plan = try await f.database.read(in: .default) { try search.explain(on: $0, first: 1) }.joined(separator: "\n")
            #expect(plan.contains(index) && plan.contains("TEMP B-TREE") == isSorted, "\(filter): \(plan)")
        }
    }

    @Test("of many experiments only the runs that a page reaches are sorted")
    func manyExperiments() async throws {
        let (f, experiments) = try await varied()
        for (order, bound) in [("start_time DESC", "start_ms>?"), ("end_time ASC", "end_ms<?"), ("status DESC", "start_ms>?")] {
            let search = try RunSearch(experimentIDs: ["0"] + experiments, filter: nil, orderBy: [order], pageSize: 50)
            for plan in try await plans(search, f) { #expect(plan.contains(bound) && !plan.contains("SCAN"), "\(order): \(plan)") }
        }
    }
}

import Contracts
import SearchLanguage
import TestSupport
import Testing
import Tracking

/// The clauses of a filter, or what is wrong with it.
private func clauses(_ grammar: SearchGrammar, _ filter: String) throws -> [SearchClause] { try grammar.parse(filter: filter) }

private func refusal(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "accepted"
    } catch let error as KeelError {
        #expect(error.code == .invalidArgument)
        return error.message
    } catch { return "\(error)" }
}

@Suite("Filters")
struct FilterTests {
    @Test("a filter is clauses with typed operands, in the order written")
    func runs() throws {
        #expect(
            try clauses(
                .runs,
                "metrics.auc >= 0.5 AND params.`my key` LIKE 'a%' and tag.team != \"risk\" AND start_time < 17 AND tags.x IS NOT NULL")
                == [
                    SearchClause(.metric, "auc", .greaterOrEqual, .number(0.5)), SearchClause(.parameter, "my key", .like, .text("a%")),
                    SearchClause(.tag, "team", .notEqual, .text("risk")), SearchClause(.attribute, "start_time", .less, .integer(17)),
                    SearchClause(.tag, "x", .isNotNull, .none),
                ])
        #expect(try clauses(.runs, "") == [])
        #expect(try clauses(.runs, "run_id IN ('a', \"b\")") == [SearchClause(.attribute, "run_id", .inList, .list(["a", "b"]))])
    }

    @Test("other spellings of an attribute lead to its name")
    func spellings() throws {
        #expect(try clauses(.runs, "attribute.`Run name` = 'x'") == [SearchClause(.attribute, "run_name", .equal, .text("x"))])
        #expect(try clauses(.runs, "Created > 5") == clauses(.runs, "start_time > 5"))
        #expect(
            try SearchGrammar.models.parse(order: ["timestamp DESC"]) == [
                SearchOrder(.attribute, "last_updated_timestamp", ascending: false)
            ])
    }

    @Test(
        "a filter that is wrong says what is wrong",
        arguments: [
            ("metrics.auc > 'a'", "Expected numeric value type for metric"),
            ("params.x = 3", "Expected a quoted string value for parameter"),
            ("metric.auc LIKE 1", "Invalid comparator 'LIKE'"), ("foo.bar = 'x'", "Invalid entity type 'foo'"),
            ("colour = 'red'", "Invalid attribute key 'colour'"),
            ("metrics.a > 1 OR metrics.b > 2", "Invalid clause(s) in filter string: 'OR"), ("tags.a = 'x", "'tags.a', '=', ''', 'x'"),
            ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params"),
            ("status IN ('A')", "Only ['run_id'] attributes support"),
            ("run_id IN ()", "expected a non-empty list of string values"), ("dataset.colour = 'x'", "Invalid dataset key"),
            ("tags.a", "Invalid clause(s)"),
            ("start_time > '3'", "Expected numeric value type for numeric attribute: start_time"), ("tags.a = b", "either not quoted"),
        ])
    func wrong(filter: String, words: String) {
        let message = refusal { _ = try clauses(.runs, filter) }
        #expect(message.contains(words), "\(message)")
    }

    @Test("each kind of thing has keys of its own")
    func kinds() throws {
        #expect(
            try clauses(.versions, "version_number >= 2 AND run_id = 'r'") == [
                SearchClause(.attribute, "version_number", .greaterOrEqual, .integer(2)),
                SearchClause(.attribute, "run_id", .equal, .text("r")),
            ])
        #expect(refusal { _ = try clauses(.models, "version_number = 2") }.contains("Invalid attribute key 'version_number'"))
        #expect(refusal { _ = try clauses(.models, "metrics.auc > 1") }.contains("Invalid entity type 'metrics'"))
        #expect(refusal { _ = try clauses(.experiments, "creation_time > 'x'") }.contains("Expected numeric value type"))
        #expect(try clauses(.evaluationDatasets, "created_by = 'ada'") == [SearchClause(.attribute, "created_by", .equal, .text("ada"))])
    }

    @Test("a filter has limits: its length, its clauses, and the length of a pattern")
    func limits() throws {
        let clause = "metrics.a > 1"
        #expect(try clauses(.runs, Array(repeating: clause, count: 100).joined(separator: " AND ")).count == 100)
        for grammar in [SearchGrammar.runs, .experiments] {
            #expect(
                refusal { _ = try grammar.parse(filter: "name = '" + String(repeating: "x", count: 70_000) + "'") }.contains(
                    "longer than 65536 bytes"))
        }
        #expect(
            refusal { _ = try clauses(.runs, Array(repeating: clause, count: 101).joined(separator: " AND ")) }.contains(
                "more than 100 clauses"))
        let pattern = String(repeating: "%", count: 1001)
        #expect(refusal { _ = try clauses(.runs, "tags.a LIKE '\(pattern)'") }.contains("a pattern of LIKE is longer than 1000 bytes"))
        #expect(try clauses(.runs, "tags.a = '\(pattern)'").count == 1)
    }

    @Test("an order is a key and a direction, and a key may stand only once")
    func orders() throws {
        #expect(
            try SearchGrammar.runs.parse(order: ["metrics.`my auc` DESC", "start_time"]) == [
                SearchOrder(.metric, "my auc", ascending: false), SearchOrder(.attribute, "start_time", ascending: true),
            ])
        #expect(refusal { _ = try SearchGrammar.runs.parse(order: ["start_time", "Created DESC"]) }.contains("contains duplicate fields"))
        #expect(refusal { _ = try SearchGrammar.models.parse(order: ["version_number"]) }.contains("Invalid order by key 'version_number'"))
        #expect(refusal { _ = try SearchGrammar.runs.parse(order: ["metrics.a sideways"]) }.contains("sideways"))
    }

    @Test("random bytes are clauses or an error that says what is invalid, never anything else", arguments: [1, 2, 3])
    func fuzz(seed: UInt64) {
        var random = Seeded(seed)
        var parsed = 0
        let pieces = [
            "name = 'x'", "tags.t LIKE '%'", "metrics.a", " > ", "1", " AND ", "tags.`b`", " LIKE ", "'x'", "(", ")", "IN", "NULL", ";",
            "\u{0}", "é", "--", ",",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 1...8, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            for grammar in [SearchGrammar.runs, .experiments, .models, .versions] {
                do {
                    parsed += try grammar.parse(filter: text).count
                } catch { #expect(error.code == .invalidArgument, "\(text)") }
            }
        }
        #expect(parsed > 0)
    }
}

@Suite("Searches as clients write them")
struct WrittenSearchTests {
    @Test("of two mistakes the one is named that MLflow's server finds first: the page's size, the experiments, the filter, the order")
    func precedence() throws {
        func message(_ experiment: String, _ filter: String, _ order: String, _ size: Int) -> String {
            refusal { _ = try RunSearch(experimentIDs: [experiment], filter: filter, orderBy: [order], pageSize: size) }
        }
        #expect(message("x", "colour = 1", "metrics", 0).contains("max_results"))
        #expect(message("x", "colour = 1", "metrics", 1).contains("Invalid experiment ID 'x'"))
        #expect(message("0", "colour = 1", "metrics", 1).contains("colour"))
        #expect(message("0", "", "colour", 1).contains("colour"))
    }

    @Test("logged models have a filter language of their own: whole words, and other spellings of their times")
    func loggedModels() throws {
        let search = try LoggedModelSearch(
            experimentIDs: ["1"], filter: "metrics.auc > 0.8 AND tags.team IN ('a') AND creation_time >= 5",
            orderBy: [LoggedModelOrderText("metrics.auc DESC"), LoggedModelOrderText("last_updated_timestamp")])
        #expect(
            search.clauses == [
                SearchClause(.metric, "auc", .greater, .number(0.8)), SearchClause(.tag, "team", .inList, .list(["a"])),
                SearchClause(.attribute, "creation_timestamp_ms", .greaterOrEqual, .number(5)),
            ])
        #expect(
            search.orderBy == [
                LoggedModelSearch.Order(SearchOrder(.metric, "auc", ascending: false)),
                LoggedModelSearch.Order(SearchOrder(.attribute, "last_updated_timestamp_ms", ascending: true)),
            ])
        func message(_ filter: String, _ order: String = "name") -> String {
            refusal { _ = try LoggedModelSearch(experimentIDs: ["1"], filter: filter, orderBy: [LoggedModelOrderText(order)]) }
        }
        #expect(message("colour = 'red'", "params.x").contains("Invalid attribute key 'colour'"))
        #expect(message("metrics.a LIKE 'x'").contains("Invalid comparison operator for metrics.a: 'LIKE'"))
        #expect(message("", "params.x").contains("Only metrics are supported"))
        #expect(message("", "colour").contains("Invalid order by field name: colour"))
    }

    @Test("an order of logged models is read with and without a direction")
    func loggedModelOrders() {
        #expect(LoggedModelOrderText("metrics.auc DESC") == LoggedModelOrderText(field: "metrics.auc", ascending: false))
        #expect(LoggedModelOrderText("metrics.my metric asc") == LoggedModelOrderText(field: "metrics.my metric"))
        #expect(LoggedModelOrderText("name") == LoggedModelOrderText(field: "name"))
    }

    @Test("in no experiment there is nothing to find, whatever the filter says")
    func nowhere() throws {
        #expect(try LoggedModelSearch(experimentIDs: [], filter: "colour = 1", orderBy: []).clauses.isEmpty)
    }
}

import Contracts
import Engines

/// Checks that a statement is one `SELECT` over offered views, by the tree that DuckDB's own parser makes of it.
enum QueryStatement {
    /// Table functions that read nothing.
    private static let tableFunctions: Set<String> = ["range", "generate_series", "unnest"]
    /// Functions that tell of the engine's settings or state, or run other SQL.
    private static let refusedFunctions: Set<String> = [
        "current_setting", "getenv", "getvariable", "json_execute_serialized_sql", "json_serialize_plan", "nextval", "currval", "sleep_ms", "write_log",
        "query", "query_table",
    ]

    /// Whether a text in lower case may mean a name: it is there, and not as a part of a longer one.
    static func names(_ name: String, in text: [UInt8]) -> Bool {
        let name = Array(name.lowercased().utf8)
        guard !name.isEmpty, name.count <= text.count else { return false }
        func isOfName(_ i: Int) -> Bool {
            guard text.indices.contains(i) else { return false }
            switch text[i] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...: return true
            default: return false
            }
        }
        for start in 0...text.count - name.count where text[start] == name[0] && text[start..<start + name.count].elementsEqual(name) {
            let end = start + name.count
            // `delay@staging` and `delay-2` are other names, `delay--` is one before a comment.
            let goesOn = isOfName(end) || text.indices.contains(end) && "@-.".utf8.contains(text[end]) && isOfName(end + 1)
            if !goesOn, !isOfName(start - 1) { return true }
        }
        return false
    }

    static func check(_ sql: String, offered: [String], _ connection: DuckDBConnection) throws(KeelError) {
        guard sql.utf8.count <= QueryLimits.sqlBytesMax else {
            throw .invalid("a query has at most \(QueryLimits.sqlBytesMax >> 10) KiB", path: "sql")
        }
        let answer = try connection.query("SELECT json_serialize_sql(\(DuckDBConnection.literal(sql)))::VARCHAR AS tree")
        guard case .string(let text) = answer.columns[0][0] else { throw KeelError(.internal, "DuckDB gave no tree of a statement") }
        let tree: JSON
        do throws(KeelError) { tree = try JSON.parse(text) } catch {
            throw .invalid("the statement is nested too deeply", hint: "split it with WITH, or write long sums as list_sum([…])", path: "sql")
        }
        if tree["error"]?.bool == true {
            guard tree["error_type"]?.string != "not implemented" else { throw notSelect }
            throw .invalid(tree["error_message"]?.string ?? "the SQL cannot be read", path: "sql")
        }
        guard let statements = tree["statements"]?.array, statements.count == 1 else { throw notSelect }
        var ownNames: Set<String> = []
        gather(statements[0], &ownNames)
        // A name holds where WITH gives it, and the engine's own views are everywhere else.
        let views = try connection.query("SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'")
        for i in 0..<views.rowCount {
            guard case .string(let name) = views.columns[0][i], ownNames.contains(name) else { continue }
            throw refusal("'\(name)' is a name of the query engine's own", "give the part of WITH another name")
        }
        try check(statements[0], Set(offered.map { $0.lowercased() }), ownNames, offered)
    }

    private static let notSelect = KeelError.invalid("a query is one SELECT statement", hint: "it reads, and changes nothing", path: "sql")

    /// The names that `WITH` gives.
    private static func gather(_ node: JSON, _ names: inout Set<String>) {
        switch node {
        case .array(let items): for item in items { gather(item, &names) }
        case .object(let members):
            for member in members {
                if member.key == "cte_map" {
                    for entry in member.value["map"]?.array ?? [] { if let key = entry["key"]?.string { names.insert(key.lowercased()) } }
                }
                gather(member.value, &names)
            }
        default: return
        }
    }

    private static func check(_ node: JSON, _ views: Set<String>, _ own: Set<String>, _ offered: [String]) throws(KeelError) {
        switch node {
        case .array(let items): for item in items { try check(item, views, own, offered) }
        case .object(let members):
            switch node["type"]?.string {
            case "BASE_TABLE": try checkTable(node, views, own, offered)
            case "TABLE_FUNCTION":
                let name = node["function"]?["function_name"]?.string ?? ""
                guard tableFunctions.contains(name.lowercased()) else {
                    throw refusal("'\(name)' cannot be selected from", "select from an endpoint: \(list(offered))")
                }
            case "SHOW_REF": throw refusal("SHOW and DESCRIBE are not queries here", "SELECT * FROM … LIMIT 1 shows the columns")
            case "FUNCTION":
                let name = node["function_name"]?.string ?? ""
                if refusedFunctions.contains(name.lowercased()) || name.lowercased().hasPrefix("pg_") {
                    throw refusal("the function '\(name)' cannot be used in a query", nil)
                }
            default: break
            }
            for member in members { try check(member.value, views, own, offered) }
        default: return
        }
    }

    private static func checkTable(_ node: JSON, _ views: Set<String>, _ own: Set<String>, _ offered: [String]) throws(KeelError) {
        let name = node["table_name"]?.string ?? ""
        let isPlain = node["catalog_name"]?.string ?? "" == "" && node["schema_name"]?.string ?? "" == ""
        guard isPlain, views.contains(name.lowercased()) || own.contains(name.lowercased()) else {
            throw KeelError(
                .notFound, "there is no endpoint '\(name)' with logged predictions that you may read", hint: "there are: \(list(offered))", path: "sql")
        }
    }

    private static func refusal(_ text: String, _ hint: String?) -> KeelError { KeelError(.invalidArgument, text, hint: hint, path: "sql") }

    private static func list(_ offered: [String]) -> String {
        guard !offered.isEmpty else { return "none" }
        return offered.prefix(20).map(DuckDBConnection.quoted).joined(separator: ", ") + (offered.count > 20 ? ", …" : "")
    }
}

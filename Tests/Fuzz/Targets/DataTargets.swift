import Contracts
import Datasets
import MLflowAPI
import Workflows

extension FuzzTarget {
    /// Files of rows: what is read, kept and refused is the same however the bytes arrive.
    static let datasetCSV = FuzzTarget(
        name: "dataset-csv", inputs: 90_000,
        words: [
            "n,s,f,t,d,b\n", "\"", "\"\"", ",", "\r\n", "\n", "NA", "1.5", "2026-11-27T12:00:00Z", "2026-11-27", "true", "1e400",
            "\u{feff}", "9223372036854775808",
        ]
    ) { bytes in
        try readBothWays(bytes) { spec, window, sink throws(KeelError) in
            var reader = CSVReader(spec, file: "f.csv", window: window, sink: sink)
            try reader.run { _ in }
        }
    }

    static let datasetJSON = FuzzTarget(
        name: "dataset-json", inputs: 75_000,
        words: [
            "{\"n\":1", "\"s\":\"x\"", "\"f\":1.5", "\"t\":\"2026-11-27T12:00:00Z\"", "\"d\":\"2026-11-27\"", "\"b\":true", "null", "[",
            "]", "\n", "}\n{", "\\u0041", "\"n\":1e3",
        ]
    ) { bytes in
        try readBothWays(bytes) { spec, window, sink throws(KeelError) in
            try JSONReader(spec, file: "f.jsonl", window: window, sink: sink).run { _ in }
        }
    }

    private static let spec = Result<DatasetSpec, KeelError> { () throws(KeelError) in
        let columns = [
            ("n", "int64"), ("s", "string"), ("f", "float64"), ("t", "timestamp"), ("d", "date"), ("b", "bool"), ("g", "float32"),
            ("i", "int32"),
        ]
        let fields = columns.map { name, type in JSON.of(["name": .string(name), "type": .string(type), "nullable": true]) }
        return try DatasetSpec(resource: Resource(kind: "Dataset", name: "fuzz", spec: ["nulls": ["NA"], "columns": .array(fields)]))
    }

    /// What a reader gave.
    private final class Rows: RowSink {
        private(set) var rows: [PackedRow] = []
        private(set) var lines: [Int] = []
        private(set) var issues: [String] = []
        private(set) var rules: Set<String> = []

        func accept(_ batch: RawBatch) throws(KeelError) {
            lines += batch.lines
            let names = batch.columns.indices.map { "c\($0)" }
            let table = try Table(Array(zip(names, batch.columns)).map { (name: $0, column: $1) })
            guard table.rowCount == batch.lines.count else {
                throw KeelError(.internal, "\(table.rowCount) rows for \(batch.lines.count) lines")
            }
            for i in 0..<table.rowCount { rows.append(PackedRow(table, row: i)) }
        }

        func reject(_ issue: RowIssue) throws(KeelError) {
            issues.append("\(issue.line) \(issue.rule) \(issue.message)")
            rules.insert(issue.rule)
        }
    }

    private static func readBothWays(_ bytes: [UInt8], _ read: (DatasetSpec, ByteWindow, Rows) throws(KeelError) -> Void) throws -> String {
        let spec = try spec.get()
        var found: [(rows: Rows, error: KeelError?)] = []
        for piece in [Int.max, 7] {
            var at = 0
            let window = ByteWindow(capacity: 64) { buffer in
                let count = min(piece, buffer.count, bytes.count - at)
                _ = buffer.update(fromContentsOf: bytes[at..<at + count])
                at += count
                return count
            }
            let rows = Rows()
            do throws(KeelError) {
                try read(spec, window, rows)
                found.append((rows, nil))
            } catch { found.append((rows, error)) }
        }
        let (whole, cut) = (found[0], found[1])
        try require(whole.error == cut.error, "in pieces: \(String(describing: whole.error)) became \(String(describing: cut.error))")
        try require(whole.rows.rows == cut.rows.rows && whole.rows.lines == cut.rows.lines, "in pieces the rows are others")
        try require(
            whole.rows.issues == cut.rows.issues, "in pieces what is refused differs: \(whole.rows.issues) became \(cut.rows.issues)")
        if let error = whole.error { throw error }
        return "\(min(whole.rows.rows.count, 4)) \(whole.rows.rules.sorted())"
    }

    /// Declarations, contracts and requests as JSON, as the API takes them: what is wrong with them is said, whatever it is.
    static let resources = FuzzTarget(
        name: "resources", inputs: 250_000,
        words: ResourceKinds.schemas.map { "\"\($0.name)\"" }
            + ResourceKinds.schemas.flatMap { kind in kind.fields.map { "\"\($0.name)\":" } } + [
                "\"apiVersion\":\"keel/v1\"", "\"kind\":", "\"metadata\":{\"name\":\"x\"}", "\"spec\":{", "\"type\":\"list<float64>\"",
                "\"tensor<float32, 3x224>\"", "\"pattern\":\"^a+$\"",
                "\"range\":[0,null]", "\"1d\"", "\"0 4 * * *\"", "\"$name.field\"", "\"a > 5%\"", "\"run_id\":\"r\"", "\"value\":\"NaN\"",
                "\"step\":\"7\"", "\"timestamp\":1",
            ]
    ) { bytes in
        let json = try JSON.parse(bytes)
        var words: [String] = []
        var refusal: (any Error)?
        if let request = try? MLflowRequest(body: bytes) {
            for name in ["value", "step", "timestamp", "run_id", "metrics"] {
                _ = try? request.number(name)
                _ = try? request.optionalInt(name)
                _ = try? request.optionalTime(name)
                _ = try? request.optionalText(name)
                _ = try? request.texts(name)
                _ = try? request.objects(name)
                _ = try? request.flag(name, default: true)
            }
        }
        if let schema = try? Schema(json: json) {
            try require(try Schema(json: schema.json) == schema, "a contract is another one when it is stored")
            words.append("schema")
        }
        if let signature = try? Signature(json: json) {
            try require(try Signature(json: signature.json) == signature, "a signature is another one when it is stored")
            words.append("signature")
        }
        for item in (json.array ?? [json]).prefix(4) {
            do {
                let resource = try Resource(json: item)
                _ = Declarations(readable: [resource])
                _ = try ResourceKinds.kind(resource.kind).init(resource: resource)
                words.append(resource.kind)
            } catch { refusal = error }
        }
        if words.isEmpty, let refusal { throw refusal }
        return words.joined(separator: " ")
    }
}

import Contracts
import Engines
import Expressions

/// The declarative form of a dataset: the contract that every row must keep.
public struct DatasetSpec: Sendable {
    public enum OnViolation: String, Sendable, CaseIterable {
        /// Rows that break the contract are set aside with the reason; the others are kept.
        case quarantine
        /// One row that breaks the contract refuses the whole batch.
        case reject
    }
    public enum OnBreach: String, Sendable, CaseIterable { case warn, reject }
    public enum Format: String, Sendable, CaseIterable { case csv, jsonl, parquet }

    /// One column: read from the file, or computed from other columns.
    public struct Column: Sendable {
        public var field: Field
        /// Its name in the file, when it differs.
        public var nameInFile: String
        /// Computed from other columns instead of read.
        public var from: Expression?
        /// The zone of clock times without one; nil is UTC.
        public var zone: String?
        /// False for a column that is only read so that others can be computed from it.
        public var keep: Bool
    }

    /// A rule for a whole batch, checked over the rows that are kept.
    public struct Expectation: Sendable {
        public enum Rule: Sendable {
            /// How many rows the batch must have; nil is open.
            case rows(minimum: Int?, maximum: Int?)
            /// A condition over `nulls`, the share of rows of the column without a value: `nulls < 5%`.
            case nulls(column: String, condition: Expression)
        }
        public var rule: Rule
        public var onBreach: OnBreach
    }

    public let name: String
    public let columns: [Column]
    public let key: [String]
    public let eventTime: String?
    /// The timestamp column that says when a row became known; nil, and in rows where it is null: when Keel accepted it.
    public let knownAt: String?
    public let nulls: [String]
    /// Columns that a file may have and that are passed over: whoever wrote the contract has seen them.
    public let ignored: [String]
    public let filter: Expression?
    public let expectations: [Expectation]
    public let onViolation: OnViolation
    public let format: Format?
    /// The byte between fields of CSV.
    public let delimiter: UInt8

    /// The contract of the stored rows: the columns that are kept.
    public let schema: Schema
    /// What is computed, each after what it needs: the index of the column and its checked expression.
    let computed: [(column: Int, expression: TypedExpression)]
    let typedFilter: TypedExpression?
    let layout: FileLayout

    /// Decodes and checks a resource of kind `Dataset`.
    /// - Throws: `invalidArgument` with the path of the field, such as `spec.columns[3].range`.
    public init(resource: Resource) throws(KeelError) {
        guard resource.kind == "Dataset" else { throw .invalid("a \(resource.kind) is not a Dataset", path: "kind") }
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        eventTime = try reader.optionalString("eventTime")
        knownAt = try reader.optionalString("knownAt")
        key = try reader.strings("key") ?? []
        nulls = try reader.strings("nulls") ?? ["", "NA", "NaN", "null"]
        ignored = try reader.strings("ignore") ?? []
        onViolation = try reader.word("onViolation", default: .quarantine)
        format = reader.optional("format") == nil ? nil : try reader.word("format") as Format
        delimiter = try DatasetSpec.delimiter(reader)
        filter = try DatasetSpec.expression(reader, "where")
        let columns = try reader.objects("columns").mapAll { item throws(KeelError) in try DatasetSpec.column(item) }
        guard !columns.isEmpty else { throw reader.failure("columns", "a dataset needs at least one column") }
        self.columns = columns
        layout = FileLayout(columns, nulls: nulls, ignored: ignored)
        let all = Schema(columns.map(\.field))
        do throws(KeelError) {
            try all.validate()
            try all.checkNames()
            try AcceptedTime.refuse(all.fields)
        } catch { throw error.at("spec") }
        var kept: [Field] = []
        for column in columns where column.keep { kept.append(column.field) }
        schema = Schema(kept, key: key, eventTime: eventTime)
        do throws(KeelError) { try schema.validate() } catch { throw error.at("spec") }
        let schema = schema
        try DatasetSpec.check(knownAt, schema)
        expectations = try reader.objects("expectations").mapAll { item throws(KeelError) in try DatasetSpec.expectation(item, schema) }
        try reader.finish()
        computed = try DatasetSpec.order(columns, all)
        if let filter {
            do throws(KeelError) { typedFilter = try filter.typed(all) } catch { throw error.at("spec.where") }
            guard typedFilter?.type == .bool else {
                throw .invalid("'\(filter.text)' is not a condition", hint: "compare it, as in 'distance > 0'", path: "spec.where")
            }
        } else {
            typedFilter = nil
        }
    }

    private static func check(_ knownAt: String?, _ schema: Schema) throws(KeelError) {
        guard let knownAt else { return }
        guard let field = schema[knownAt] else {
            throw .invalid(
                "'\(knownAt)' is not a column that is kept", hint: nearest(knownAt, in: schema.names).map { "did you mean '\($0)'?" },
                path: "spec.knownAt")
        }
        // A date begins at midnight: rows would count as known up to a day before they were.
        guard field.type == .timestamp else {
            throw .invalid(
                "'\(knownAt)' is a \(field.type), not a timestamp",
                hint: field.type == .date ? "a day does not say from when on; compute a timestamp that is certainly not too early" : nil,
                path: "spec.knownAt")
        }
    }

    private static func delimiter(_ reader: FieldReader) throws(KeelError) -> UInt8 {
        guard let text = try reader.optionalString("delimiter") else { return UInt8(ascii: ",") }
        if text == "tab" { return 9 }
        guard text.utf8.count == 1, let byte = text.utf8.first, ![10, 13, 34].contains(byte) else {
            throw reader.failure("delimiter", "must be one character such as ';', or 'tab'")
        }
        return byte
    }

    private static func expression(_ reader: FieldReader, _ name: String) throws(KeelError) -> Expression? {
        guard let text = try reader.optionalString(name) else { return nil }
        do throws(KeelError) { return try Expression(parsing: text) } catch { throw error.at("\(reader.path).\(name)") }
    }

    private static func column(_ reader: FieldReader) throws(KeelError) -> Column {
        let name = try reader.string("name")
        let type: DataType
        do throws(KeelError) { type = try DataType(parsing: try reader.string("type")) } catch {
            throw error.path == nil ? error.at("\(reader.path).type") : error
        }
        var field = Field(name, type, nullable: try reader.optionalBool("nullable") ?? false)
        switch type {
        case .list, .tensor: throw reader.failure("type", "a dataset cannot hold \(type) columns", hint: "use one column for each item")
        default: break
        }
        if let range = reader.optional("range") {
            guard type.isNumeric else { throw reader.failure("range", "a \(type) column has no range") }
            guard let ends = range.array, ends.count == 2, ends.allSatisfy({ $0.isNull || $0.number != nil }) else {
                throw reader.failure("range", "must be [lowest, highest]; null is open")
            }
            field.minimum = ends[0].number
            field.maximum = ends[1].number
            if let minimum = field.minimum, let maximum = field.maximum, minimum > maximum {
                throw reader.failure("range", "begins above its end", hint: Field.rangeHint)
            }
        }
        field.oneOf = try reader.strings("oneOf")
        field.pattern = try reader.optionalString("pattern")
        if let pattern = field.pattern {
            guard type == .string else { throw reader.failure("pattern", "only a string column has a pattern") }
            do throws(KeelError) { _ = try TextPattern(pattern) } catch {
                throw reader.failure("pattern", error.message, hint: error.hint)
            }
        }
        field.unit = try reader.optionalString("unit")
        field.personal = try reader.optionalBool("personal") ?? false
        let column = Column(
            field: field, nameInFile: try reader.optionalString("column") ?? name, from: try expression(reader, "from"),
            zone: try reader.optionalString("zone"), keep: try reader.optionalBool("keep") ?? true)
        if let zone = column.zone {
            guard type == .timestamp else { throw reader.failure("zone", "only a timestamp has a zone") }
            guard ClockZone(zone) != nil else {
                throw reader.failure("zone", "'\(zone)' is not a known time zone", hint: "use a name such as America/New_York")
            }
        }
        try reader.finish()
        return column
    }

    private static func expectation(_ reader: FieldReader, _ schema: Schema) throws(KeelError) -> Expectation {
        let onBreach: OnBreach = try reader.word("onBreach", default: .reject)
        let rule: Expectation.Rule
        if let rows = reader.optional("rows") {
            guard let ends = rows.array, ends.count == 2, ends.allSatisfy({ $0.isNull || $0.integer != nil }) else {
                throw reader.failure("rows", "must be [fewest, most]; null is open")
            }
            let minimum = ends[0].integer.map(Int.init)
            let maximum = ends[1].integer.map(Int.init)
            if let minimum, let maximum, minimum > maximum { throw reader.failure("rows", "begins above its end", hint: Field.rangeHint) }
            rule = .rows(minimum: minimum, maximum: maximum)
        } else {
            let column = try reader.string("column")
            guard schema[column] != nil else {
                throw reader.failure(
                    "column", "'\(column)' is not a column", hint: nearest(column, in: schema.names).map { "did you mean '\($0)'?" })
            }
            let text = try reader.string("nulls")
            do throws(KeelError) {
                let condition = try Expression(parsing: "nulls \(text)")
                _ = try condition.holds(["nulls": 0])
                rule = .nulls(column: column, condition: condition)
            } catch { throw reader.failure("nulls", "'\(text)' is not a limit: \(error.message)", hint: "write it as '< 5%'") }
        }
        try reader.finish()
        return Expectation(rule: rule, onBreach: onBreach)
    }

    /// The expression of a computed column; nil for one that is read from the file.
    private static func typed(_ column: Column, _ schema: Schema, at place: String) throws(KeelError) -> TypedExpression? {
        guard let from = column.from else { return nil }
        let typed: TypedExpression
        do throws(KeelError) { typed = try from.typed(schema) } catch { throw error.at(place) }
        guard Conversion.possible(typed.type, column.field.type) else {
            throw .invalid("'\(from.text)' gives a \(typed.type), the column is a \(column.field.type)", path: place)
        }
        return typed
    }

    /// Sorts computed columns so that each stands after those it needs, and checks their expressions.
    private static func order(_ columns: [Column], _ schema: Schema) throws(KeelError) -> [(column: Int, expression: TypedExpression)] {
        let expressions = try columns.enumerated().mapAll { (i, column) throws(KeelError) in
            try typed(column, schema, at: "spec.columns[\(i)].from")
        }
        var out: [(column: Int, expression: TypedExpression)] = []
        var ready = Set(columns.filter { $0.from == nil }.map(\.field.name))
        var waiting = columns.indices.filter { columns[$0].from != nil }
        while !waiting.isEmpty {
            var later: [Int] = []
            for i in waiting {
                guard let from = columns[i].from, let typed = expressions[i] else { continue }
                guard from.identifiers.allSatisfy(ready.contains) else {
                    later.append(i)
                    continue
                }
                out.append((i, typed))
                ready.insert(columns[i].field.name)
            }
            guard later.count < waiting.count else {
                let names = later.map { "'\(columns[$0].field.name)'" }.joined(separator: ", ")
                throw .invalid("the columns \(names) are computed from one another in a circle", path: "spec.columns[\(later[0])].from")
            }
            waiting = later
        }
        return out
    }
}

import Contracts
import Expressions

/// A feature view over a dataset, checked and typed: what both engines execute.
struct DatasetView: Sendable {
    /// What makes two views interchangeable: online state is kept across a change of the catalogue when this is equal.
    struct Identity: Hashable, Sendable {
        let spec: FeatureViewSpec
        let entity: EntitySpec
        /// The columns that the view reads, by name and type alone: what else changes in the contract is nothing to it.
        let columns: [Field]
    }
    struct Key: Sendable {
        /// The name and type in requests.
        let field: Field
        /// The column of the dataset.
        let column: String
    }
    /// A window of one expression; all features over it share its state.
    struct Series: Sendable, Hashable {
        let window: Window
        /// Index into `arguments`; nil counts rows.
        let argument: Int?
    }
    enum Source: Sendable {
        case windowed(Aggregate, series: Int)
        /// `position` among the view's latest features.
        case latest(argument: Int, position: Int)
    }
    struct Feature: Sendable {
        let name: String
        let type: DataType
        let source: Source

        /// What a key without events has.
        var absent: Value {
            if case .windowed(let aggregate, _) = source, aggregate == .count || aggregate == .countDistinct { return .int(0) }
            return .null
        }
    }

    let identity: Identity
    let dataset: String
    let schema: Schema
    let keys: [Key]
    let at: String
    let created: String?
    let filter: TypedExpression?
    /// Each expression once.
    let arguments: [TypedExpression]
    let series: [Series]
    let features: [Feature]

    var name: String { identity.spec.name }
    var ttl: TimeSpan? { identity.spec.ttl }
    var hasLatest: Bool { features.contains { if case .latest = $0.source { true } else { false } } }

    /// A row carries a bit for each expression that says whether it has a value.
    static let argumentsMax = 64

    init(_ spec: FeatureViewSpec, dataset: String, entity: EntitySpec, schema: Schema) throws(KeelError) {
        self.dataset = dataset
        self.schema = schema
        keys = try DatasetView.keys(spec, entity, dataset, schema)
        guard let at = spec.at ?? schema.eventTime else {
            throw .invalid(
                "dataset '\(dataset)' has no event time", hint: "name the column when a row becomes known with at:", path: "spec.at")
        }
        for (column, place) in [(at, "spec.at"), (spec.created ?? at, "spec.created")] {
            let field = try DatasetView.field(column, of: dataset, schema, at: place)
            guard field.type == .timestamp || field.type == .date else {
                throw .invalid("'\(column)' is a \(field.type), not a timestamp or date", path: place)
            }
        }
        self.at = at
        created = spec.created
        filter = try spec.filter.map { text throws(KeelError) in
            let typed = try placed("spec.where") { () throws(KeelError) in try Expression(parsing: text).typed(schema) }
            guard typed.type == .bool else { throw .invalid("'\(text)' is a \(typed.type), not a condition", path: "spec.where") }
            return typed
        }
        var builder = Builder(schema: schema, ttl: spec.ttl)
        try spec.features.enumerated().mapAll { (i, feature) throws(KeelError) in try builder.add(feature, at: "spec.features[\(i)]") }
        (arguments, series, features) = (builder.arguments, builder.series, builder.features)
        let used = Set(
            [at, spec.created ?? at] + keys.map(\.column) + (filter?.columns ?? []) + arguments.flatMap(\.columns))
        identity = Identity(
            spec: spec, entity: entity, columns: schema.fields.filter { used.contains($0.name) }.map { Field($0.name, $0.type) })
    }

    private static func keys(_ spec: FeatureViewSpec, _ entity: EntitySpec, _ dataset: String, _ schema: Schema) throws(KeelError) -> [Key]
    {
        for name in spec.keys.keys.sorted() where !entity.keys.contains(where: { $0.name == name }) {
            throw .invalid(
                "entity '\(entity.name)' has no key '\(name)'",
                hint: nearest(name, in: entity.keys.map(\.name)).map { "did you mean '\($0)'?" }, path: "spec.keys.\(name)")
        }
        var keys: [Key] = []
        for key in entity.keys {
            let column = spec.keys[key.name] ?? key.name
            let place = spec.keys[key.name] == nil ? "spec.entity" : "spec.keys.\(key.name)"
            let field = try DatasetView.field(column, of: dataset, schema, at: place)
            let fits = field.type == key.type || (field.type.isInteger && key.type.isInteger)
            guard fits, KeyEncoding.canHold(key.type) else {
                throw .invalid(
                    "key '\(key.name)' is a \(key.type), column '\(column)' of dataset '\(dataset)' a \(field.type)", path: place)
            }
            keys.append(Key(field: key, column: column))
        }
        return keys
    }

    private static func field(_ name: String, of dataset: String, _ schema: Schema, at place: String) throws(KeelError) -> Field {
        if let field = schema[name] { return field }
        throw .invalid(
            "dataset '\(dataset)' has no column '\(name)'",
            hint: nearest(name, in: schema.names).map { "did you mean '\($0)'?" } ?? "columns: \(schema.names.joined(separator: ", "))",
            path: place)
    }

    /// Gathers the distinct expressions and windows of the features.
    private struct Builder {
        let schema: Schema
        let ttl: TimeSpan?
        var arguments: [TypedExpression] = []
        var texts: [String] = []
        var series: [Series] = []
        var features: [Feature] = []
        var latestCount = 0

        mutating func add(_ spec: FeatureSpec, at place: String) throws(KeelError) {
            guard !features.contains(where: { $0.name == spec.name }) else {
                throw .invalid("feature '\(spec.name)' is declared twice", path: "\(place).name")
            }
            try Identifier.check(name: spec.name, path: "\(place).name")
            switch spec.definition {
            case .request:
                throw .invalid(
                    "'expression' belongs to a view with from: request", hint: "use of: for the latest value", path: "\(place).expression")
            case .latest(let text):
                let index = try argument(text, at: place)
                guard arguments[index].type != .bytes else { throw .invalid("a feature cannot be bytes", path: "\(place).of") }
                features.append(
                    Feature(name: spec.name, type: arguments[index].type, source: .latest(argument: index, position: latestCount)))
                latestCount += 1
            case .windowed(let aggregate, let text, let length):
                let window = try placed("\(place).window") { () throws(KeelError) in try Window(length) }
                if let ttl, ttl < length {
                    throw .invalid(
                        "the view's ttl of \(ttl) is shorter than this window of \(length)", hint: "raise the ttl to \(length)",
                        path: "\(place).window")
                }
                let index = try text.map { text throws(KeelError) in try argument(text, at: place) }
                let type = try resultType(aggregate, index.map { arguments[$0].type }, at: place)
                let wanted = Series(window: window, argument: index)
                let position = series.firstIndex(of: wanted) ?? series.count
                if position == series.count { series.append(wanted) }
                features.append(Feature(name: spec.name, type: type, source: .windowed(aggregate, series: position)))
            }
        }

        private mutating func argument(_ text: String, at place: String) throws(KeelError) -> Int {
            if let known = texts.firstIndex(of: text) { return known }
            let schema = self.schema
            let typed = try placed("\(place).of") { () throws(KeelError) in try Expression(parsing: text).typed(schema) }
            guard arguments.count < DatasetView.argumentsMax else {
                throw .invalid(
                    "a view may use at most \(DatasetView.argumentsMax) different expressions", hint: "split the view", path: "\(place).of")
            }
            texts.append(text)
            arguments.append(typed)
            return arguments.count - 1
        }

        private func resultType(_ aggregate: Aggregate, _ argument: DataType?, at place: String) throws(KeelError) -> DataType {
            switch aggregate {
            case .count, .countDistinct: return .int64
            case .sum, .mean, .min, .max, .stddev:
                guard let argument, argument.isNumeric || argument == .bool else {
                    throw .invalid(
                        "\(aggregate.rawValue) needs a number or a condition, not a \(argument?.description ?? "row")", path: "\(place).of")
                }
                return .float64
            case .last, .first:
                guard let argument, argument != .string, argument != .bytes else {
                    throw .invalid(
                        "\(aggregate.rawValue) over a window cannot hold a text",
                        hint: "leave out aggregate and window for the latest value",
                        path: "\(place).of")
                }
                return argument
            }
        }
    }
}

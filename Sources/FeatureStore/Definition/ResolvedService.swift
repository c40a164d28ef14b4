import Contracts
import Expressions

/// A feature service with every name resolved to a slot.
///
/// One row of a request is an array of slots: the request's columns, then every feature that is needed, in an order in which each can be computed.
struct ResolvedService: Sendable {
    // Classes, so that the request path that walks them copies references only.
    final class ViewUse: Sendable {
        let view: DatasetView
        /// Slots of the entity's keys, in order.
        let keySlots: [Int]
        /// Which features of the view go where.
        let features: [(index: Int, slot: Int)]

        init(view: DatasetView, keySlots: [Int], features: [(index: Int, slot: Int)]) {
            (self.view, self.keySlots, self.features) = (view, keySlots, features)
        }
    }
    final class Computed: Sendable {
        let expression: TypedExpression
        /// For each column of the expression, its slot.
        let slots: [Int]
        let slot: Int

        init(expression: TypedExpression, slots: [Int], slot: Int) { (self.expression, self.slots, self.slot) = (expression, slots, slot) }
    }
    struct Output: Sendable {
        let name: String
        let type: DataType
        let slot: Int
    }

    let spec: FeatureServiceSpec
    let requestFields: [Field]
    let timeSlot: Int?
    let slotCount: Int
    let uses: [ViewUse]
    /// In dependency order.
    let computed: [Computed]
    let outputs: [Output]
    /// Every view that takes part, sorted.
    let views: [String]

    var name: String { spec.name }
}

/// Resolves the names of one service.
struct ServiceResolver {
    private enum Name: Hashable {
        case request(String)
        case feature(view: String, name: String)

        var view: String? { if case .feature(let view, _) = self { view } else { nil } }
    }
    private struct PendingComputation {
        let name: Name
        let expression: TypedExpression
        let inputs: [Name]
    }

    let catalog: FeatureCatalog
    let spec: FeatureServiceSpec
    private var requestFields: [Field] = []
    private var stored: [(view: DatasetView, indices: [Int])] = []
    private var computations: [PendingComputation] = []
    private var types: [Name: DataType] = [:]
    private var active: Set<Name> = []
    /// Features of the service by their plain names.
    private var selected: [(name: String, view: String)] = []

    init(catalog: FeatureCatalog, spec: FeatureServiceSpec) { (self.catalog, self.spec) = (catalog, spec) }

    mutating func resolve() throws(KeelError) -> ResolvedService {
        for (i, item) in spec.features.enumerated() { try select(item, at: "spec.features[\(i)]") }
        for (name, view) in selected {
            _ = try placed("spec.features") { () throws(KeelError) in try type(of: .feature(view: view, name: name)) }
        }
        if let time = spec.time { _ = try addRequest(Field(time, .timestamp), at: "spec.at") }
        for field in requestFields {
            guard let feature = selected.first(where: { $0.name.isEqualIgnoringCase(field.name) }) else { continue }
            let both =
                feature.name == field.name
                ? "'\(field.name)' is both a feature and a column of the request"
                : "feature '\(feature.name)' and column '\(field.name)' of the request differ in nothing but case"
            throw .invalid(both, hint: "rename the feature", path: "spec.features")
        }
        return assemble()
    }

    private mutating func select(_ item: String, at place: String) throws(KeelError) {
        let parts = item.split(separator: ".", maxSplits: 1).map(String.init)
        let view = catalog.viewNames.contains(item) ? item : parts.first ?? item
        let names: [String]
        if let found = catalog.views[view] {
            names = found.features.map(\.name)
        } else if let found = catalog.requestViews[view] {
            names = found.features.map(\.name)
        } else {
            throw FeatureCatalog.unknown("feature view", view, catalog.viewNames, at: place)
        }
        var wanted = names
        if view != item {
            let feature = String(item.dropFirst(view.count + 1))
            guard names.contains(feature) else {
                throw .invalid(
                    "view '\(view)' has no feature '\(feature)'",
                    hint: nearest(feature, in: names).map { "did you mean '\(view).\($0)'?" }
                        ?? "features: \(names.joined(separator: ", "))", path: place)
            }
            wanted = [feature]
        }
        for name in wanted {
            if let other = selected.first(where: { $0.name.isEqualIgnoringCase(name) }) {
                throw .invalid(
                    other.name == name
                        ? "feature '\(name)' is in the service twice: from '\(other.view)' and from '\(view)'"
                        : "features '\(other.view).\(other.name)' and '\(view).\(name)' differ in nothing but case", path: place)
            }
            selected.append((name, view))
        }
    }

    private mutating func type(of name: Name) throws(KeelError) -> DataType {
        if let known = types[name] { return known }
        guard case .feature(let viewName, let feature) = name else { return .bytes }
        if let view = catalog.views[viewName], let index = view.features.firstIndex(where: { $0.name == feature }) {
            for key in view.keys { _ = try addRequest(key.field, at: "FeatureView/\(viewName).spec.entity") }
            if let use = stored.firstIndex(where: { $0.view.name == viewName }) {
                stored[use].indices.append(index)
            } else {
                stored.append((view, [index]))
            }
            types[name] = view.features[index].type
            return view.features[index].type
        }
        guard let view = catalog.requestViews[viewName], let index = view.features.firstIndex(where: { $0.name == feature }),
            case .request(let text) = view.features[index].definition
        else { throw .invalid("there is no feature '\(viewName).\(feature)'") }
        let place = "FeatureView/\(viewName).spec.features[\(index)].expression"
        guard active.insert(name).inserted else { throw .invalid("feature '\(feature)' refers to itself", path: place) }
        defer { active.remove(name) }
        let expression = try placed(place) { () throws(KeelError) in try Expression(parsing: text) }
        var inputs: [String: (name: Name, type: DataType)] = [:]
        for identifier in expression.identifiers { inputs[identifier] = try resolve(identifier, in: view, from: feature, at: place) }
        let typed = try placed(place) { () throws(KeelError) in try expression.typed { inputs[$0]?.type } }
        computations.append(PendingComputation(name: name, expression: typed, inputs: typed.columns.compactMap { inputs[$0]?.name }))
        types[name] = typed.type
        return typed.type
    }

    /// A name in a request expression: a feature of the service, one of the same view, `view.feature`, or else a column of the request.
    private mutating func resolve(
        _ identifier: String, in view: FeatureViewSpec, from feature: String, at place: String
    ) throws(KeelError) -> (name: Name, type: DataType) {
        let name = self.place(identifier, in: view, from: feature)
        guard case .request(let column) = name else { return (name, try type(of: name)) }
        let type = try requestType(column, in: view, at: place)
        return (name, try addRequest(Field(column, type, nullable: true), at: place))
    }

    private func place(_ identifier: String, in view: FeatureViewSpec, from feature: String) -> Name {
        if identifier != feature, let found = selected.first(where: { $0.name == identifier }) {
            return .feature(view: found.view, name: identifier)
        }
        if identifier != feature, view.features.contains(where: { $0.name == identifier }) {
            return .feature(view: view.name, name: identifier)
        }
        if let dot = identifier.firstIndex(of: "."), catalog.viewNames.contains(String(identifier[..<dot])) {
            return .feature(view: String(identifier[..<dot]), name: String(identifier[identifier.index(after: dot)...]))
        }
        return .request(identifier)
    }

    /// A request column has the type that the view declares, or the one that it has in the datasets the service uses, or else in those that could
    /// be its examples because they have all such columns, or else in any.
    private func requestType(_ column: String, in view: FeatureViewSpec, at place: String) throws(KeelError) -> DataType {
        if let declared = view.columns.first(where: { $0.name == column }) { return declared.type }
        if let known = requestFields.first(where: { $0.name == column }) { return known.type }
        if column == spec.time { return .timestamp }
        let sources = Set(selected.compactMap { catalog.views[$0.view]?.dataset })
        let wanted = undeclaredColumns()
        let pools = [
            catalog.datasets.filter { sources.contains($0.key) },
            catalog.datasets.filter { entry in wanted.allSatisfy { entry.value[$0] != nil } },
            catalog.datasets,
        ]
        for pool in pools {
            let types = Set(pool.values.compactMap { $0[column]?.type })
            if let only = types.first, types.count == 1 { return only }
            guard types.isEmpty else {
                let names = pool.filter { $0.value[column] != nil }.keys.sorted().joined(separator: ", ")
                throw .invalid(
                    "the datasets \(names) disagree on the type of '\(column)'", hint: "declare it: columns: { \(column): … }", path: place)
            }
        }
        let known = selected.map(\.name) + catalog.datasets.values.flatMap(\.names) + view.columns.map(\.name)
        throw .invalid(
            "'\(column)' is neither a feature of the service nor a column of any dataset",
            hint: nearest(column, in: known.sorted()).map { "did you mean '\($0)'?" } ?? "declare it: columns: { \(column): float64 }",
            path: place)
    }

    /// The request columns that the service's expressions use and no view declares.
    private func undeclaredColumns() -> Set<String> {
        var out: Set<String> = []
        var visited: Set<Name> = []
        var waiting = selected.map { Name.feature(view: $0.view, name: $0.name) }
        while let next = waiting.popLast() {
            guard visited.insert(next).inserted, case .feature(let viewName, let feature) = next, let view = catalog.requestViews[viewName],
                case .request(let text)? = view.features.first(where: { $0.name == feature })?.definition,
                let expression = try? Expression(parsing: text)
            else { continue }
            for identifier in expression.identifiers {
                switch place(identifier, in: view, from: feature) {
                case .request(let column):
                    if !view.columns.contains(where: { $0.name == column }), column != spec.time { out.insert(column) }
                case let name: waiting.append(name)
                }
            }
        }
        return out
    }

    private mutating func addRequest(_ field: Field, at place: String) throws(KeelError) -> DataType {
        if let known = requestFields.firstIndex(where: { $0.name == field.name }) {
            guard requestFields[known].type == field.type else {
                throw .invalid(
                    "request column '\(field.name)' is a \(requestFields[known].type) here and a \(field.type) there", path: place)
            }
            if !field.nullable { requestFields[known].nullable = false }
        } else {
            requestFields.append(field)
        }
        types[.request(field.name)] = field.type
        return field.type
    }

    private func assemble() -> ResolvedService {
        var slots: [Name: Int] = [:]
        for field in requestFields { slots[.request(field.name)] = slots.count }
        var uses: [ResolvedService.ViewUse] = []
        for (view, indices) in stored {
            var features: [(index: Int, slot: Int)] = []
            for index in indices {
                let name = Name.feature(view: view.name, name: view.features[index].name)
                features.append((index, slots.count))
                slots[name] = slots.count
            }
            uses.append(.init(view: view, keySlots: view.keys.compactMap { slots[.request($0.field.name)] }, features: features))
        }
        var computed: [ResolvedService.Computed] = []
        for computation in computations {
            computed.append(
                .init(expression: computation.expression, slots: computation.inputs.compactMap { slots[$0] }, slot: slots.count))
            slots[computation.name] = slots.count
        }
        let outputs = selected.compactMap { item -> ResolvedService.Output? in
            let name = Name.feature(view: item.view, name: item.name)
            guard let slot = slots[name], let type = types[name] else { return nil }
            return .init(name: item.name, type: type, slot: slot)
        }
        return ResolvedService(
            spec: spec, requestFields: requestFields, timeSlot: spec.time.flatMap { slots[.request($0)] }, slotCount: slots.count,
            uses: uses,
            computed: computed, outputs: outputs, views: Set(types.keys.compactMap(\.view)).sorted())
    }
}

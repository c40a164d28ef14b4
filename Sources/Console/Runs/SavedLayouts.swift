import Contracts
import Tracking

/// Addresses of the table of runs and of compare that somebody gave a name, for all who read the experiment: what they show, in which order and how.
///
/// They are tags of the experiment, whose changes are in the ledger. The prefix is one that MLflow's own page does not show. Whoever may write to the
/// experiment could change such a tag through the API; the console removes a layout for who saved it.
struct SavedLayout {
    enum PageKind: String { case runs, compare }

    private static let prefix = "mlflow.keel.layout."
    private static let layoutsMax = 50
    private static let nameCharactersMax = 100
    private static let addressBytesMax = 4000
    /// Of an address what is of one moment or of one reader.
    private static let passing: Set<String> = ["page", "after", "workspace", "csrf"]

    let name: String
    let kind: PageKind
    let by: String
    /// The parameters of the address.
    let query: String

    static func all(_ experiment: Experiment) -> [SavedLayout] {
        experiment.tags.compactMap { tag in
            guard tag.key.hasPrefix(prefix), let json = try? JSON.parse(tag.value), let kind = json["page"]?.string.flatMap(PageKind.init),
                let by = json["by"]?.string, let query = json["query"]?.string
            else { return nil }
            return SavedLayout(name: String(tag.key.dropFirst(prefix.count)), kind: kind, by: by, query: cleaned(query))
        }.sorted { byteOrder($0.name, $1.name) < 0 }
    }

    /// Only parameters, each escaped: whatever the stored text holds, the link stays on the page.
    private static func cleaned(_ query: String) -> String {
        let items = PageQuery(path: "", query: query.hasPrefix("?") ? String(query.dropFirst()) : query).items
        return items.filter { !passing.contains($0.name) && !$0.value.isEmpty }.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }
            .joined(separator: "&")
    }

    private func path(_ experiment: Experiment) -> String {
        let page = kind == .runs ? "/console/experiments/\(pathComponent(experiment.id))" : "/console/compare"
        return query.isEmpty ? page : "\(page)?\(query)"
    }

    /// For the template `layouts`.
    static func view(_ experiment: Experiment, _ kind: PageKind, _ asked: PageRequest) -> View {
        let caller = asked.grant.caller.name
        let isActive = experiment.lifecycle == .active
        let mayWrite = isActive && asked.grant(.trackingWrite) != nil
        let layouts = all(experiment)
        let address = asked.query.with([:])
        return [
            "action": "/console/experiments/\(pathComponent(experiment.id))/layouts", "kind": kind.rawValue, "mayWrite": mayWrite,
            "query": address.firstIndex(of: "?").map { String(address[$0...]) } ?? "", "count": layouts.count, "hasLayouts": !layouts.isEmpty,
            "layouts": layouts.map { layout in
                [
                    "name": Shown.text(layout.name, path: layout.path(experiment)), "raw": layout.name, "by": layout.by.visible(),
                    "isCompare": layout.kind == .compare, "isOwn": mayWrite && layout.by == caller,
                ] as View
            },
        ]
    }

    private static func readExperiment(_ asked: PageRequest) async throws -> Experiment {
        try await asked.platform.tracking.experiment(id: asked.name("id"), try Grant.check(asked.grant.caller, may: .trackingRead))
    }

    static func save(_ asked: PageRequest, _ form: Form) async throws -> String {
        let experiment = try await readExperiment(asked)
        let name = try form.required("name").trimmingSpaces
        guard !name.isEmpty, name.unicodeScalars.count <= nameCharactersMax else {
            throw KeelError.invalid("must have 1 to \(nameCharactersMax) characters", path: "name")
        }
        guard let kind = PageKind(rawValue: form["page"] ?? "") else { throw KeelError.invalid("is 'runs' or 'compare'", path: "page") }
        let query = cleaned(form["query"] ?? "")
        guard query.utf8.count <= addressBytesMax else {
            throw KeelError.invalid("the address is too long to be saved", hint: "choose fewer runs or columns", path: "query")
        }
        let layouts = all(experiment)
        let caller = asked.grant.caller.name
        if let other = layouts.first(where: { $0.name == name }), other.by != caller {
            throw KeelError(.alreadyExists, "\(other.by) saved a layout '\(name)'", hint: "choose another name", path: "name")
        }
        guard layouts.count < layoutsMax || layouts.contains(where: { $0.name == name }) else {
            throw KeelError(.failedPrecondition, "the experiment has \(layoutsMax) layouts, which is the most", hint: "remove one")
        }
        let value: JSON = ["page": .string(kind.rawValue), "by": .string(caller), "query": .string(query)]
        try await asked.platform.tracking.setExperimentTag(id: experiment.id, KeyValue(prefix + name, value.text), asked.grant)
        return SavedLayout(name: name, kind: kind, by: caller, query: query).path(experiment)
    }

    static func remove(_ asked: PageRequest, _ form: Form) async throws -> String {
        let experiment = try await readExperiment(asked)
        let name = try form.required("name")
        guard let layout = all(experiment).first(where: { $0.name == name }) else { throw KeelError.notFound("there is no layout '\(name.prefix(100))'") }
        guard layout.by == asked.grant.caller.name else {
            throw KeelError(.failedPrecondition, "the layout '\(name)' was saved by \(layout.by)", hint: "who saved a layout removes it")
        }
        try await asked.platform.tracking.deleteExperimentTag(id: experiment.id, key: prefix + name, asked.grant)
        return "/console/experiments/\(pathComponent(experiment.id))"
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        let start = drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }
}

import Contracts
import Tracking

/// Addresses of the table of runs and of compare that somebody gave a name, for all who read the experiment: what they show, in which order and how.
struct SavedLayout {
    enum PageKind: String { case runs, compare }

    /// Of an address what is of one moment or of one reader.
    private static let passing: Set<String> = ["page", "after", "workspace", "csrf"]

    let stored: ExperimentLayout
    let kind: PageKind
    /// The parameters of the address.
    let query: String

    init?(_ stored: ExperimentLayout) {
        guard let kind = PageKind(rawValue: stored.page) else { return nil }
        self.stored = stored
        self.kind = kind
        query = SavedLayout.cleaned(stored.query)
    }

    /// Only parameters, each escaped: whatever the stored text holds, the link stays on the page.
    private static func cleaned(_ query: String) -> String {
        let items = PageQuery(path: "", query: query.hasPrefix("?") ? String(query.dropFirst()) : query).items
        return items.filter { !passing.contains($0.name) && !$0.value.isEmpty }.map {
            "\(percentEncoded($0.name))=\(percentEncoded($0.value))"
        }
        .joined(separator: "&")
    }

    private static func path(_ experiment: String, _ kind: PageKind, _ query: String) -> String {
        let page = kind == .runs ? "/console/experiments/\(pathComponent(experiment))" : "/console/compare"
        return query.isEmpty ? page : "\(page)?\(query)"
    }

    /// For the template `layouts`.
    static func view(_ experiment: Experiment, _ kind: PageKind, _ asked: PageRequest) -> View {
        let isActive = experiment.lifecycle == .active
        let mayWrite = isActive && asked.grant(.trackingWrite) != nil
        let layouts = experiment.layouts.compactMap { SavedLayout($0) }
        let address = asked.query.with([:])
        return [
            "action": "/console/experiments/\(pathComponent(experiment.id))/layouts", "kind": kind.rawValue, "mayWrite": mayWrite,
            "query": address.firstIndex(of: "?").map { String(address[$0...]) } ?? "", "count": layouts.count,
            "hasLayouts": !layouts.isEmpty,
            "layouts": layouts.map { layout in
                [
                    "name": Shown.text(layout.stored.name, path: path(experiment.id, layout.kind, layout.query)), "raw": layout.stored.name,
                    "by": layout.stored.savedBy.visible(), "isCompare": layout.kind == .compare,
                    "isOwn": mayWrite && layout.stored.mayBeChanged(by: asked.grant.caller),
                ] as View
            },
        ]
    }

    static func save(_ asked: PageRequest, _ form: Form) async throws -> String {
        guard let kind = PageKind(rawValue: form["page"] ?? "") else { throw KeelError.invalid("is 'runs' or 'compare'", path: "page") }
        let id = try asked.name("id")
        let query = cleaned(form["query"] ?? "")
        try await asked.platform.tracking.saveLayout(
            try form.required("name").trimmingSpaces, page: kind.rawValue, query: query, of: id, asked.grant)
        return path(id, kind, query)
    }

    static func remove(_ asked: PageRequest, _ form: Form) async throws -> String {
        let id = try asked.name("id")
        try await asked.platform.tracking.removeLayout(try form.required("name"), of: id, asked.grant)
        return "/console/experiments/\(pathComponent(id))"
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        let start = drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }
}

import Contracts

extension ConsoleSection {
    static let lineage = ConsoleSection(title: "Lineage", path: "/console/lineage", action: .resourcesRead)
}

/// The graph from source to what answers, from any thing; without one, a list of things to begin with.
func addLineagePages(to pages: ConsoleRoutes) {
    pages.page("/lineage", .resourcesRead, on: .each) { asked in
        guard let start = asked.query["of"] else {
            let stored = try await asked.platform.resources.all(by: asked.grant)
            let shown = ["Endpoint", "Dataset", "FeatureService", "FeatureView", "Pipeline", "Monitor", "Trigger"]
            return Page(
                "Lineage", in: .lineage, template: "lineage",
                [
                    "of": "", "graph": false,
                    "kinds": shown.compactMap { kind -> View? in
                        let things = stored.map { $0.resource.ref(in: asked.grant.workspace) }.filter { $0.kind == kind }.prefix(40)
                        guard !things.isEmpty else { return nil }
                        return [
                            "kind": LineageGraph.word(kind),
                            "things": things.map { Shown.text($0.qualifiedName, path: "/console/lineage?of=\(pathComponent($0.subject))") },
                        ]
                    },
                ])
        }
        var graph = try await LineageGraph(asked)
        try await graph.walk(from: start)
        return Page(
            "Lineage of \(Shown.cut(start))", in: .lineage, below: [Page.Link("Lineage", "/console/lineage")], template: "lineage",
            [
                "of": start, "kinds": [View](),
                "graph": [
                    "source": "/console/lineage/graph.json?of=\(pathComponent(start))", "isCut": graph.isCut, "count": graph.nodes.count, "start": Shown.text(start),
                    "nodes": graph.nodes.map { node in
                        [
                            "kind": LineageGraph.word(node.kind), "name": Shown.text(node.label, path: node.path),
                            "centre": "/console/lineage?of=\(pathComponent(node.subject))",
                            "from": graph.edges.filter { $0.to == node.subject }.prefix(12).map { Shown.text($0.from) },
                        ] as View
                    },
                ] as View,
            ])
    }
    pages.data("/lineage/graph.json", .resourcesRead, on: .each) { asked in
        guard let start = asked.query["of"] else { throw KeelError.invalid("'of' is missing", hint: "of=Dataset/NAME", path: "of") }
        var graph = try await LineageGraph(asked)
        try await graph.walk(from: start)
        return graph.json
    }
}

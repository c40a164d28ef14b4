import Contracts
import FeatureStore
import Storage

/// The feature views and services of a workspace.
struct FeaturePages {
    let asked: PageRequest

    private var catalog: FeatureCatalog { asked.platform.features[asked.grant.workspace].catalog }

    private func views() async throws -> [FeatureViewSpec] {
        try await asked.platform.resources.get(FeatureViewSpec.kind, by: asked.grant).compactMap { try? FeatureViewSpec(resource: $0.resource) }
    }

    private func services() async throws -> [FeatureServiceSpec] {
        try await asked.platform.resources.get(FeatureServiceSpec.kind, by: asked.grant).compactMap { try? FeatureServiceSpec(resource: $0.resource) }
    }

    func list() async throws -> Page {
        let statistics = Dictionary(
            asked.platform.features[asked.grant.workspace].statistics().map { ($0.view, $0) }, uniquingKeysWith: { first, _ in first })
        let views = try await views()
        var rows: [View] = []
        for view in views {
            let known = statistics[view.name]
            rows.append([
                "name": Shown.text(view.name, path: DataViews.path(view: view.name)), "count": view.features.count, "keys": known.map { Shown.count($0.keys) } ?? "–",
                "inexact": known.map { Shown.count($0.inexactReads) } ?? "–", "source": source(of: view), "ttl": view.ttl.map { "\($0)" } ?? "for ever",
                "fresh": try await freshness(of: view),
            ])
        }
        let services = try await services()
        return Page(
            "Features", in: .datasets, below: [Page.Link("Data", "/console/datasets")], template: "features",
            [
                "views": rows, "hasViews": !rows.isEmpty, "hasServices": !services.isEmpty,
                "services": services.map { service in
                    let features = (try? catalog.features(service.name)) ?? []
                    return ["name": Shown.text(service.name, path: DataViews.path(service: service.name)), "count": features.count, "of": service.features.prefix(8).map { Shown.text($0) }] as View
                },
            ])
    }

    private func source(of view: FeatureViewSpec) -> View {
        switch view.source {
        case .dataset(let name, _): Shown.text(name, path: asked.grant(.datasetsRead) == nil ? nil : DataViews.path(dataset: name))
        case .request: Shown.text("the request")
        }
    }

    /// The newest event of the view's dataset.
    private func freshness(of view: FeatureViewSpec) async throws -> Any {
        guard case .dataset(let name, _) = view.source else { return false }
        return Shown.time(try await asked.platform.data.snapshot(ResourceRef("Dataset", name, in: asked.grant.workspace))?.eventTimes?.upperBound)
    }

    func view() async throws -> Page {
        let ref = try asked.thing(FeatureViewSpec.kind)
        guard let view = try await views().first(where: { $0.name == ref.name }) else { throw KeelError.notFound("there is no feature view '\(ref.name.prefix(140))'") }
        var entity: String?
        if case .dataset(_, let name) = view.source { entity = name }
        return Page(
            view.name, in: .datasets, below: [Page.Link("Data", "/console/datasets"), Page.Link("Features", "/console/features")], template: "feature-view",
            [
                "name": Shown.text(view.name), "lineage": "/console/lineage?of=\(pathComponent(ref.subject))", "source": source(of: view), "entity": entity ?? false,
                "ttl": view.ttl.map { "\($0)" } ?? "for ever", "filter": view.filter ?? false, "at": view.at ?? false, "fresh": try await freshness(of: view),
                "features": view.features.map { ["name": Shown.text($0.name), "definition": FeaturePages.text($0.definition)] as View },
            ])
    }

    /// A definition as its resource writes it.
    private static func text(_ definition: FeatureSpec.Definition) -> View {
        switch definition {
        case .windowed(let aggregate, let of, let window): Shown.text("\(aggregate.rawValue)(\(of ?? "rows")) over \(window)")
        case .latest(let expression): Shown.text("latest \(expression)")
        case .request(let expression): Shown.text(expression)
        }
    }

    /// A service: its features, and a look-up by key.
    func service(_ form: Form? = nil) async throws -> Page {
        let ref = try asked.thing(FeatureServiceSpec.kind)
        let fields = try catalog.requestFields(ref.name)
        var answer: Any = false
        var problem: Any = false
        if let form {
            do { answer = try look(up: ref.name, fields, form) } catch let error as KeelError where error.code == .invalidArgument {
                problem = ["message": error.message, "hint": error.hint ?? false, "field": error.path ?? false] as View
            }
        }
        let path = DataViews.path(service: ref.name)
        return Page(
            ref.name, in: .datasets, below: [Page.Link("Data", "/console/datasets"), Page.Link("Features", "/console/features")], template: "feature-service",
            [
                "name": Shown.text(ref.name), "path": path, "lineage": "/console/lineage?of=\(pathComponent(ref.subject))", "answer": answer, "problem": problem,
                "time": (try catalog.time(ofService: ref.name)) ?? false,
                "fields": fields.map { field in
                    ["name": field.name, "type": "\(field.type)", "value": form?["field.\(field.name)"] ?? "", "isRequired": !field.nullable, "isTime": field.type == .timestamp] as View
                },
                "features": try catalog.features(ref.name).map { ["name": Shown.text($0.name), "type": "\($0.type)"] as View },
                "endpoints": try await endpoints(reading: ref.name).map { ["name": $0.qualifiedName, "path": "\(path)/parity"] as View },
            ])
    }

    private func look(up service: String, _ fields: [Field], _ form: Form) throws -> View {
        var row: [JSON.Member] = []
        for field in fields {
            guard let text = form["field.\(field.name)"] else { continue }
            let isText = field.type == .string || field.type == .timestamp
            row.append(JSON.Member(field.name, isText ? .string(text) : (try? JSON.parse(text)) ?? .string(text)))
        }
        let table = try asked.platform.parity.read(.array([.object(row)]), service: service, asked.grant)
        return ["values": zip(table.names, table.row(0)).map { ["name": Shown.text($0), "value": Shown.text(JSON($1).string ?? JSON($1).text)] as View }]
    }

    /// The endpoints whose stable release reads this service, which parity can be checked on.
    private func endpoints(reading service: String) async throws -> [ResourceRef] {
        var found: [ResourceRef] = []
        for status in asked.platform.runtime.status() where status.ref.workspace == asked.grant.workspace {
            guard let grant = try? Grant.check(asked.grant.caller, may: .releasesRead, on: status.ref), asked.grant(.predictionsRead, on: status.ref.subject) != nil else { continue }
            let releases = try await asked.platform.deployments.releases(endpoint: status.ref, grant)
            if releases.last?.featureService == service { found.append(status.ref) }
        }
        return found
    }

    /// Replays logged reads of an endpoint through the offline join.
    func parity(_ form: Form) async throws -> Page {
        let ref = try asked.thing(FeatureServiceSpec.kind)
        let endpoint = try ResourceRef("Endpoint", qualifiedName: form.required("endpoint"), in: asked.grant.workspace, path: "endpoint")
        let grant = try Grant.check(asked.grant.caller, may: .predictionsRead, on: endpoint)
        let report = try await asked.platform.parity.verify(endpoint: endpoint, sample: 1000, grant)
        let differences = report["differences"]?.integer ?? 0
        return Page(
            "Parity of \(ref.name)", in: .datasets,
            below: [Page.Link("Data", "/console/datasets"), Page.Link("Features", "/console/features"), Page.Link(ref.name, DataViews.path(service: ref.name))],
            template: "parity",
            [
                "endpoint": endpoint.qualifiedName, "rows": Shown.count(Int(report["rows"]?.integer ?? 0)), "compared": Shown.count(Int(report["compared"]?.integer ?? 0)),
                "skipped": Shown.count(Int(report["skipped"]?.integer ?? 0)), "undecided": Shown.count(Int(report["undecided"]?.integer ?? 0)),
                "differences": Shown.count(Int(differences)), "agrees": differences == 0,
                "examples": (report["examples"]?.array ?? []).map { example in
                    [
                        "id": Shown.text(example["id"]?.string ?? ""), "feature": Shown.text(example["feature"]?.string ?? ""),
                        "online": example["online"]?.text ?? "", "offline": example["offline"]?.text ?? "",
                    ] as View
                },
            ])
    }
}

func addDataPages(to pages: ConsoleRoutes) {
    pages.page("/datasets", .datasetsRead, on: .each) { try await datasetsPage($0) }
    pages.page("/datasets/:name", .datasetsRead, on: .placed("Dataset")) { try await DatasetPage.page($0) }
    pages.data("/datasets/:name/profile.json", .datasetsRead, on: .placed("Dataset")) { try await DatasetPage.profile($0) }
    pages.page("/features", .featuresRead, on: .each) { try await FeaturePages(asked: $0).list() }
    pages.page("/features/:name", .featuresRead, on: .placed(FeatureViewSpec.kind)) { try await FeaturePages(asked: $0).view() }
    pages.page("/feature-services/:name", .featuresRead, on: .placed(FeatureServiceSpec.kind)) { try await FeaturePages(asked: $0).service() }
    pages.formPage("/feature-services/:name", .featuresRead, on: .placed(FeatureServiceSpec.kind)) { try await FeaturePages(asked: $0).service($1) }
    pages.formPage("/feature-services/:name/parity", .featuresRead, on: .placed(FeatureServiceSpec.kind)) { try await FeaturePages(asked: $0).parity($1) }
}

import Contracts
import Registry
import Serving
import Workflows

/// To more endpoints than these a version is deployed from the endpoints' own pages, or by the command.
private let endpointsMax = 30

/// One version: what it takes and gives, what Keel saw of it, its card, where it comes from and where it serves.
func addVersionPage(to pages: ConsoleRoutes) {
    pages.page("/models/:name/versions/:version", .registryRead, on: .model) { asked in
        let name = try asked.name()
        let number = try asked.versionNumber()
        let registry = asked.platform.registry
        let version = try await registry.version(model: name, version: number, asked.grant)
        let evidence = try await registry.evidence(of: version, asked.grant)
        let serving = ServingVersions(asked).views(of: name, version: String(number))
        let deployable = asked.platform.runtime.status().filter {
            $0.ref.workspace == asked.grant.workspace && asked.grant.caller.may(.releasesDeploy, on: $0.ref)
        }
        var view: View = [
            "name": Shown.text(name), "version": number, "base": ConsolePath.version(name, String(number)),
            "modelPath": ConsolePath.model(name),
            "uri": version.uri, "source": Shown.text(version.source), "stage": version.stage == .none ? false : version.stage.rawValue,
            "aliases": version.aliases.sorted().joined(separator: ", "), "hasAliases": !version.aliases.isEmpty, "by": version.userID,
            "createdAt": Shown.time(version.createdAt), "description": version.description.visible(keepingLines: true),
            "hasDescription": !version.description.isEmpty, "serving": serving, "isServing": !serving.isEmpty,
            "tags": version.tags.map { ["key": Shown.text($0.key), "value": Shown.text($0.value)] as View },
            "hasTags": !version.tags.isEmpty,
            "endpoints": deployable.prefix(endpointsMax).map {
                ["name": $0.ref.qualifiedName, "path": ConsolePath.endpoint($0.ref)] as View
            },
            "mayDeploy": !deployable.isEmpty,
            "mayApprove": asked.grant(.modelsApprove, on: "Model/\(name)") != nil && evidence != nil,
            "lineage": try await lineage(version, evidence, asked),
        ]
        view.merge(signature(version.facts)) { $1 }
        view["evidence"] = evidence.map(EvidenceView.view) ?? false
        view["card"] = await card(name, number, asked) ?? false
        return Page(
            "\(name)/\(number)", in: .models, below: [.init("Models", "/console/models"), .init(name, ConsolePath.model(name))],
            template: "version", view)
    }
    pages.form("/models/:name/versions/:version/approve", .modelsApprove, on: .model) { asked, form in
        let name = try asked.name()
        let number = try asked.versionNumber()
        _ = try await asked.platform.registry.approve(model: name, version: number, reason: try form.required("reason"), asked.grant)
        return ConsolePath.version(name, String(number))
    }
}

extension PageRequest {
    func versionNumber() throws -> Int {
        guard let number = Int(try name("version")), number > 0 else {
            throw KeelError.invalid("a version is named by its number", path: "version")
        }
        return number
    }
}

private func signature(_ facts: ModelFacts?) -> View {
    func columns(_ columns: [ModelFacts.Column]) -> [View] {
        columns.prefix(500).enumerated().map { i, column in
            [
                "column": Shown.text(column.name ?? "column \(i + 1)"),
                "type": column.type?.description ?? String(column.written.visible().prefix(80)),
                "isRequired": column.isRequired,
            ]
        }
    }
    let inputs = columns(facts?.inputs ?? [])
    let outputs = columns(facts?.outputs ?? [])
    return [
        "inputs": inputs, "outputs": outputs, "hasSignature": !inputs.isEmpty || !outputs.isEmpty,
        "flavors": facts?.flavors.joined(separator: ", ") ?? "", "bytes": facts?.bytes.map { Shown.count(Int($0)) } ?? false,
        "problem": facts?.problem ?? false,
    ]
}

/// The card's text; nil when the caller may not read all that it is written from.
private func card(_ name: String, _ number: Int, _ asked: PageRequest) async -> String? {
    guard let tracking = asked.grant(.trackingRead), let pipelines = asked.grant(.pipelinesRead), let releases = asked.grant(.releasesRead),
        let resources = asked.grant(.resourcesRead)
    else { return nil }
    let grants = CardGrants(registry: asked.grant, tracking: tracking, pipelines: pipelines, releases: releases, resources: resources)
    guard let card = try? await asked.platform.cards.card(model: name, version: number, grants) else { return nil }
    return String(card.markdown.visible(keepingLines: true).prefix(40_000))
}

/// From the data to what serves: each step with what it is and where its page is.
private func lineage(_ version: ModelVersion, _ evidence: VersionEvidence?, _ asked: PageRequest) async throws -> [View] {
    var steps: [View] = []
    func add(_ what: String, _ text: String, _ path: String? = nil) { steps.append(["what": what, "item": Shown.text(text, path: path)]) }
    for dataset in evidence?.training?.data["datasets"]?.array ?? [] {
        add("data", dataset["name"]?.string ?? dataset.string ?? dataset.text)
    }
    if let origin = evidence?.training?.origin { add("pipeline run", origin.run, ConsolePath.pipelineRun(origin.run)) }
    if let run = version.runID {
        let experiment = try await experiment(of: run, asked)
        add("run", run, experiment.map { ConsolePath.run($0, run) })
    }
    if let logged = version.modelID { add("logged model", logged) }
    add("version", version.uri)
    for place in ServingVersions(asked).places where place.model == version.name && place.version == String(version.version) {
        add("release", "\(place.endpoint.qualifiedName)/\(place.release)", ConsolePath.release(place.endpoint, place.release))
    }
    return steps
}

/// Nil for a run that is not there, or that the caller may not read.
private func experiment(of run: String, _ asked: PageRequest) async throws -> String? {
    guard let grant = asked.grant(.trackingRead) else { return nil }
    return try? await asked.platform.tracking.run(id: run, grant).experimentID
}

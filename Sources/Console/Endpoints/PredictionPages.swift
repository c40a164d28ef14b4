import Contracts
import Serving

/// Predictions of an endpoint: the latest ones, and one by its id with what was asked, what the model was given and what it answered.
func addPredictionPages(to pages: ConsoleRoutes) {
    pages.page("/endpoints/:name/predictions", .predictionsRead, on: .placed(EndpointSpec.kind)) { asked in
        let ref = try asked.thing(EndpointSpec.kind)
        let limit = try asked.query.limit()
        let queries = PredictionQueries(database: asked.platform.database)
        if let id = asked.query["id"] { return try await predictionPage(id, ref, asked) }
        let before = try asked.query["after"].map { (text) throws(KeelError) in try PredictionKey(place: text) }
        // What was answered a moment ago may still be on its way to the table. When the table cannot be written now, the page shows what is there.
        try? await asked.platform.runtime.flush()
        let found = try await queries.latest(endpoint: ref, before: before, limit: limit + 1, asked.grant)
        let shown = found.prefix(limit)
        if found.isEmpty, before == nil, asked.platform.runtime.status(endpoint: ref) == nil {
            let reason = asked.platform.runtime.whyNotServing(ref)
            if reason.code == .notFound { throw reason }
        }
        let table = PageTable(
            "Predictions, the newest first",
            [
                .init("Event time"), .init("Prediction"), .init("Release", isNumber: true), .init("Role"), .init("Score", isNumber: true),
                .init("Label"),
                .init("Latency", isNumber: true), .init("Answered"),
            ],
            shown.map { stored in
                [
                    .time(stored.eventTime), .mono(stored.id, path: ConsolePath.prediction(ref, stored.id)),
                    .number(String(stored.release)),
                    stored.shadow ? .badge("shadow", .info) : .text("answered"), .number(stored.score.map(Shown.number) ?? "–"),
                    .text(stored.label.map { "\($0)" } ?? ""), .number(Shown.duration(seconds: Double(stored.latencyNanoseconds) / 1e9)),
                    .time(stored.at),
                ]
            }, next: found.count > limit ? shown.last?.key.place : nil,
            empty: "No prediction is logged. Try the endpoint, or see what its declaration says of the log.")
        return Page(
            "Predictions", in: .endpoints, below: above(ref), template: "predictions",
            ["table": table.view(asked.query), "base": ConsolePath.endpoint(ref), "name": ref.qualifiedName])
    }
    pages.page("/endpoints/:name/predictions/:id", .predictionsRead, on: .placed(EndpointSpec.kind)) { asked in
        try await predictionPage(try asked.name("id"), try asked.thing(EndpointSpec.kind), asked)
    }
}

private func above(_ ref: ResourceRef) -> [Page.Link] {
    [.init("Endpoints", "/console/endpoints"), .init(ref.qualifiedName, ConsolePath.endpoint(ref))]
}

private func predictionPage(_ id: String, _ ref: ResourceRef, _ asked: PageRequest) async throws -> Page {
    try? await asked.platform.runtime.flush()
    let found = try await PredictionQueries(database: asked.platform.database).prediction(id: id, endpoint: ref, asked.grant)
    guard let first = found.first else {
        throw KeelError.notFound(
            "'\(ref.qualifiedName)' has no logged prediction '\(id.prefix(200))'", hint: "its declaration says which requests are logged")
    }
    var releases: [Release] = []
    if let grant = asked.grant(.releasesRead, on: ref.subject) {
        releases = try await asked.platform.deployments.releases(endpoint: ref, grant)
    }
    var scores: [View] = []
    for stored in found {
        let release = releases.first { $0.number == stored.release }
        var signature: Signature?
        if let release { signature = await read(signatureOf: release, asked) }
        scores.append([
            "release": stored.release, "releasePath": ConsolePath.release(ref, stored.release),
            "model": release.map { "\($0.model)/\($0.modelVersion)" } ?? "", "role": stored.shadow ? "in shadow" : "answered",
            "level": stored.shadow ? "info" : "ok", "score": stored.score.map(Shown.number) ?? false,
            "latency": Shown.duration(seconds: Double(stored.latencyNanoseconds) / 1e9), "at": Shown.time(stored.at),
            "inputs": named(stored.inputs, signature?.inputs.map(\.name) ?? [], "input"),
            "outputs": named(stored.outputs, signature?.outputs.map(\.name) ?? [], "output"),
        ])
    }
    let request = (try? JSON.parse(first.request))?.pretty ?? first.request
    return Page(
        "Prediction", in: .endpoints, below: above(ref) + [.init("Predictions", ConsolePath.endpoint(ref) + "/predictions")],
        template: "prediction",
        [
            "lineage": asked.grant(.resourcesRead) == nil
                ? false : "/console/lineage?of=\(pathComponent("Prediction/\(ref.qualifiedName)/\(id)"))" as Any,
            "id": Shown.text(id), "eventTime": Shown.time(first.eventTime), "label": first.label.map { "\($0)" } ?? false,
            "labelAt": Shown.time(first.labelAt), "request": String(request.visible(keepingLines: true).prefix(20_000)), "scores": scores,
        ])
}

/// Nil when the release's bundle cannot be read any more.
private func read(signatureOf release: Release, _ asked: PageRequest) async -> Signature? {
    try? await ModelBundle.read(release.bundle, from: asked.platform.objects).signature
}

private func named(_ values: [Value], _ names: [String], _ word: String) -> [View] {
    values.enumerated().map { i, value in
        [
            "name": names.indices.contains(i) ? names[i] : "\(word) \(i + 1)", "value": String(value.description.visible().prefix(1000)),
            "isMissing": value.isNull,
        ]
    }
}

extension PredictionKey {
    /// As an address has it: event time in microseconds, release, id.
    var place: String { "\(eventTime.microseconds).\(release).\(id)" }

    /// - Throws: `invalidArgument` for what is no place.
    init(place: String) throws(KeelError) {
        let parts = place.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let time = Int64(parts[0]).flatMap({ Timestamp(exactly: $0) }), let release = Int(parts[1]),
            !parts[2].isEmpty
        else {
            throw .invalid("is not a place in this table", hint: "begin with its first page", path: "after")
        }
        self.init(eventTime: time, id: String(parts[2]), release: release)
    }
}

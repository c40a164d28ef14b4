import Contracts
import Monitoring
import Serving
import Storage
import Workflows

/// One endpoint: the rollout in motion with what its conditions see, its traffic, its releases and what happened, and the decisions that
/// somebody may take.
func addEndpointPage(to pages: ConsoleRoutes) {
    pages.page("/endpoints/:name", .releasesRead, on: .placed(EndpointSpec.kind)) { asked in
        let ref = try asked.thing(EndpointSpec.kind)
        let view = try await EndpointView(ref, asked)
        return Page(
            ref.qualifiedName, in: .endpoints, below: [.init("Endpoints", "/console/endpoints")], template: "endpoint",
            try await view.view(asked))
    }
    pages.form("/endpoints/:name/promote", .releasesDeploy, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        let expected = try ServingExpectation(form)
        _ = try await asked.platform.deployments.promote(
            endpoint: ref, reason: try form.required("reason"), expecting: expected, asked.grant)
        return ConsolePath.endpoint(ref)
    }
    pages.form("/endpoints/:name/rollback", .releasesDeploy, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        let expected = try ServingExpectation(form)
        try await asked.platform.deployments.rollback(
            endpoint: ref, to: try form.number("to"), reason: try form.required("reason"), expecting: expected, asked.grant)
        return ConsolePath.endpoint(ref)
    }
    pages.form("/endpoints/:name/rollout/pause", .releasesDeploy, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        let expected = try ServingExpectation(form)
        try await asked.platform.deployments.pause(endpoint: ref, reason: try form.required("reason"), expecting: expected, asked.grant)
        return ConsolePath.endpoint(ref)
    }
    pages.form("/endpoints/:name/rollout/resume", .releasesDeploy, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        let expected = try ServingExpectation(form)
        try await asked.platform.deployments.resume(endpoint: ref, reason: try form.required("reason"), expecting: expected, asked.grant)
        return ConsolePath.endpoint(ref)
    }
    pages.form("/endpoints/:name/deploy", .releasesDeploy, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        _ = try await asked.platform.deploying.deploy(
            try form.required("model"), to: ref, features: nil, runner: nil, reason: form["reason"], by: asked.grant.caller)
        return ConsolePath.endpoint(ref)
    }
}

extension ServingExpectation {
    /// What the page showed on which somebody decided: hidden fields of its forms.
    init(_ form: Form) throws(KeelError) { self.init(stable: try form.number("stable"), candidate: try form.number("candidate")) }
}

/// What the page of an endpoint shows.
private struct EndpointView {
    private static let releasesMax = 20
    private static let eventsMax = 20

    let ref: ResourceRef
    let status: EndpointStatus?
    let state: EndpointState
    let spec: EndpointSpec
    let rollout: Rollout?
    let releases: [Release]

    init(_ ref: ResourceRef, _ asked: PageRequest) async throws {
        self.ref = ref
        let deployments = asked.platform.deployments
        state = try await deployments.state(endpoint: ref, asked.grant)
        spec = try await deployments.spec(endpoint: ref, asked.grant)
        rollout = try await deployments.rollout(endpoint: ref, asked.grant)
        releases = try await deployments.releases(endpoint: ref, asked.grant).sorted { $0.number > $1.number }
        status = asked.platform.runtime.status(endpoint: ref)
    }

    func view(_ asked: PageRequest) async throws -> View {
        let mayDeploy = asked.grant(.releasesDeploy, on: ref.subject) != nil
        let alerts = try await alerts(asked)
        var view: View = [
            "name": ref.name, "environment": ref.environment?.rawValue ?? "", "base": ConsolePath.endpoint(ref),
            "phase": status?.phase ?? "not serving", "level": levelOfPhase, "serves": stableText ?? false,
            "inFlight": status?.inFlight ?? 0, "stable": state.stable ?? false, "candidate": state.candidate ?? false,
            "mayDeploy": mayDeploy, "mayPromote": mayDeploy && rollout != nil, "mayTakeBack": mayDeploy && state.candidate != nil,
            "mayPause": mayDeploy && rollout != nil && state.pause == nil, "mayResume": mayDeploy && rollout != nil && state.pause != nil,
            "mayRollBack": mayDeploy && state.stable != nil && state.candidate == nil && !earlier.isEmpty, "earlier": earlier,
            "mayTry": asked.grant(.predict, on: ref.subject) != nil && state.stable != nil,
            "mayReadPredictions": asked.grant(.predictionsRead, on: ref.subject) != nil,
            "rollout": rolloutView ?? false, "traffic": traffic.view(asked.query), "stages": stages.view(asked.query),
            "releases": releaseTable.view(asked.query), "hasMoreReleases": releases.count > EndpointView.releasesMax, "alerts": alerts,
            "hasAlerts": !alerts.isEmpty, "refusals": refusals, "hasRefusals": !refusals.isEmpty,
        ]
        let range = try HistoryRange(asked.query)
        view["ranges"] = HistoryRange.allCases.map { each in
            ["title": each.title, "path": asked.query.with(["range": each == .hour ? nil : each.rawValue]), "isCurrent": each == range] as View
        }
        view["range"] = range.rawValue
        view["stableRelease"] = state.stable.map { "\($0)" } ?? false
        view["subject"] = ref.subject
        view["events"] = try await events(asked)?.view(asked.query) ?? false
        return view
    }

    private var levelOfPhase: String {
        guard let status else { return "bad" }
        return status.phase == "steady" ? "ok" : status.phase == "starting" ? "warn" : "info"
    }

    private var stableText: View? {
        guard let stable = releases.first(where: { $0.number == state.stable }) else { return nil }
        return [
            "release": stable.number, "releasePath": ConsolePath.release(ref, stable.number),
            "model": "\(stable.model)/\(stable.modelVersion)",
            "modelPath": ConsolePath.version(stable.model, stable.modelVersion), "features": stable.featureService ?? false,
        ]
    }

    /// Releases that served and could serve again.
    private var earlier: [View] {
        releases.filter { $0.number != state.stable && $0.number != state.candidate }.prefix(EndpointView.releasesMax).map {
            ["number": $0.number, "model": "\($0.model)/\($0.modelVersion)", "isPrevious": $0.number == state.previous]
        }
    }

    private var rolloutView: View? {
        guard let rollout, let candidate = releases.first(where: { $0.number == state.candidate }) else { return nil }
        let numbers = rollout.numbers
        let isShadow = if case .shadow = rollout.phase { true } else { false }
        let current = if case .canary(let step) = rollout.phase { step } else { -1 }
        let steps: [View] = rollout.plan.shares.enumerated().map { i, share in
            ["title": EndpointRow.percent(share), "isCurrent": i == current, "isDone": i < current]
        }
        let conditions: [View] = rollout.plan.rollbackWhen.map { condition in
            let values: [View] = condition.names.map { name in
                ["name": name, "value": numbers[name].map { EndpointView.shown($0, name) } ?? false, "isMissing": numbers[name] == nil]
            }
            let isBreached = condition.isBreached(by: numbers)
            let isKnown = condition.names.allSatisfy { numbers[$0] != nil }
            return [
                "text": condition.text, "values": values, "verdict": isBreached ? "true" : isKnown ? "not true" : "not enough evidence",
                "level": isBreached ? "bad" : isKnown ? "ok" : "warn",
            ]
        }
        let target = rollout.phaseTarget
        return [
            "release": candidate.number, "releasePath": ConsolePath.release(ref, candidate.number),
            "model": "\(candidate.model)/\(candidate.modelVersion)",
            "modelPath": ConsolePath.version(candidate.model, candidate.modelVersion), "isShadow": isShadow,
            "hasShadow": rollout.plan.shadowRequests > 0,
            "steps": steps, "share": EndpointRow.percent(rollout.share), "done": min(rollout.phaseRequests, target), "target": target,
            "started": Shown.time(state.startedAt), "conditions": conditions, "hasConditions": !conditions.isEmpty,
            "paused": state.pause.map { ["by": Shown.text($0.by), "reason": $0.reason.visible(), "at": Shown.time($0.at)] as View } ?? false,
            "minimumRequests": rollout.plan.minimumRequests, "minimumLabels": rollout.plan.minimumLabels,
        ]
    }

    private static func shown(_ value: Double, _ name: String) -> String {
        if name.hasSuffix("errors") { return EndpointRow.percent(value) }
        return name.contains("latency") ? Shown.duration(seconds: value) : Shown.number(value)
    }

    private var serving: [(role: String, status: ReleaseStatus)] {
        [("stable", status?.stable), (status?.phase ?? "candidate", status?.candidate)].compactMap { role, status in
            status.map { (role, $0) }
        }
    }

    private var traffic: PageTable {
        PageTable(
            "Traffic of the releases since the server started",
            [
                .init("Release"), .init("Model"), .init("Role"), .init("Share", isNumber: true), .init("Requests", isNumber: true),
                .init("Rows", isNumber: true), .init("In shadow", isNumber: true), .init("Errors", isNumber: true),
                .init("p50", isNumber: true),
                .init("p99", isNumber: true),
            ],
            serving.map { role, release in
                let failures = release.errors.values.reduce(0, +)
                let whole = release.requests + failures
                return [
                    .text(String(release.release), path: ConsolePath.release(ref, release.release)),
                    .text("\(release.model)/\(release.modelVersion)", path: ConsolePath.version(release.model, release.modelVersion)),
                    role == "stable" ? .badge("stable", .ok) : .badge(role, .info), .number(EndpointRow.percent(release.share)),
                    .number(Shown.count(release.requests)), .number(Shown.count(release.rows)), .number(Shown.count(release.shadowRows)),
                    .number(whole > 0 ? EndpointRow.percent(Double(failures) / Double(whole)) : "–"),
                    .number(Shown.duration(seconds: release.p50)),
                    .number(Shown.duration(seconds: release.p99)),
                ]
            }, empty: "No release serves. Deploy a model: keel deploy \(ref.qualifiedName) models:/NAME/VERSION.")
    }

    /// The mean of each stage of answered requests, side by side.
    private var stages: PageTable {
        PageTable(
            "Mean latency by stage since the server started",
            [.init("Stage")] + serving.map { .init("Release \($0.status.release)", isNumber: true) },
            serving.isEmpty
                ? []
                : (RequestStage.allCases.map { stage in [.text(stage.rawValue)] + serving.map { mean($0.status.stages[stage]) } }
                    + [[.text("whole")] + serving.map { mean($0.status.durations) }]), empty: "Nothing was answered yet.")
    }

    private func mean(_ counts: DurationCounts?) -> PageTable.Cell {
        guard let counts, counts.count > 0 else { return .number("–") }
        return .number(Shown.duration(seconds: Double(counts.nanoseconds) / Double(counts.count) / 1e9))
    }

    private var releaseTable: PageTable {
        PageTable(
            "Releases, the newest first",
            [.init("Release"), .init("Model"), .init("State"), .init("Gate"), .init("Created"), .init("By"), .init("Promoted from")],
            releases.prefix(EndpointView.releasesMax).map { release in
                let place: PageTable.Cell =
                    release.number == state.stable
                    ? .badge("stable", .ok)
                    : release.number == state.candidate
                        ? .badge("candidate", .info) : .text(release.number == state.previous ? "previous" : "")
                return [
                    .text(String(release.number), path: ConsolePath.release(ref, release.number)),
                    .text("\(release.model)/\(release.modelVersion)", path: ConsolePath.version(release.model, release.modelVersion)),
                    place,
                    release.gate == .passed ? .badge("passed", .ok) : .badge(String(release.gate.text.prefix(60)), .warn),
                    .time(release.createdAt),
                    .text(release.createdBy), .text(release.promotedFrom?.name ?? ""),
                ]
            }, empty: "No release yet. Deploy a model: keel deploy \(ref.qualifiedName) models:/NAME/VERSION.")
    }

    /// Requests that were answered with an error, by its code.
    private var refusals: [View] {
        (status?.refused ?? [:]).sorted { $0.key < $1.key }.map { ["reason": $0.key, "count": Shown.count($0.value)] }
    }

    /// What was last measured of the stable release, when it raised an alert.
    private func alerts(_ asked: PageRequest) async throws -> [View] {
        guard let stable = state.stable, let grant = asked.grant(.monitorsRead, on: ref.subject),
            let measured = try await asked.platform.monitoring.latest(endpoint: ref, release: stable, by: grant), measured.alerted
        else { return [] }
        let worst = measured.columns.filter(\.drifted).sorted { $0.psi > $1.psi }.prefix(5)
        return [
            [
                "kind": measured.kind.rawValue, "monitor": measured.monitor.qualifiedName, "until": Shown.time(measured.until),
                "columns": worst.map { "\($0.name) (PSI \($0.psi.decimals(3)))" }.joined(separator: ", "),
            ]
        ]
    }

    /// The last of what the ledger says of it; nil for those who may not read the ledger.
    private func events(_ asked: PageRequest) async throws -> PageTable? {
        guard asked.grant(.ledgerRead) != nil else { return nil }
        let subject = ref.subject
        let events = try await asked.platform.database.read(in: ref.workspace) {
            try $0.ledgerEvents(on: subject, before: .max, limit: EndpointView.eventsMax)
        }
        return LedgerRows.table("What happened to this endpoint, the newest first", events, in: ref.workspace, without: .subject)
    }
}

import Contracts
import Monitoring
import Serving

/// An endpoint as lists show it: what serves, how far a rollout is, and how it does.
struct EndpointRow: Sendable {
    let status: EndpointStatus
    /// The newest window of each kind of what serves, when its monitor raised an alert in it.
    let alert: WindowMeasurement?

    var ref: ResourceRef { status.ref }
    var requests: Int { (status.stable?.requests ?? 0) + (status.candidate?.requests ?? 0) }
    /// Requests that were answered with an error. What a candidate failed at and the stable release answered is none.
    var failures: Int { status.refused.values.reduce(0, +) }
    var errorShare: Double { requests + failures > 0 ? Double(failures) / Double(requests + failures) : 0 }

    /// The endpoints that a grant covers, as they serve now.
    static func all(_ console: Console, _ grant: Grant) async throws -> [EndpointRow] {
        var rows: [EndpointRow] = []
        for status in console.platform.runtime.status() where status.ref.workspace == grant.workspace && grant.covers(status.ref) {
            rows.append(EndpointRow(status: status, alert: await alert(of: status, console, grant.caller)))
        }
        return rows
    }

    private static func alert(of status: EndpointStatus, _ console: Console, _ caller: Caller) async -> WindowMeasurement? {
        guard let stable = status.stable?.release, let reading = try? Grant.check(caller, may: .monitorsRead, on: status.ref.subject),
            let measured = try? await console.platform.monitoring.latest(endpoint: status.ref, release: stable, by: reading)
        else { return nil }
        return measured.alerted ? measured : nil
    }

    static func percent(_ share: Double) -> String { "\((share * 100).decimals(share > 0 && share < 0.1 ? 2 : 1)) %" }

    var phase: PageTable.Cell { EndpointRow.phase(status.phase) }

    static func phase(_ phase: String) -> PageTable.Cell {
        switch phase {
        case "steady": .badge("steady", .ok)
        case "starting": .badge("starting", .warn)
        default: .badge(phase, .info)
        }
    }

    var cells: [PageTable.Cell] {
        let stable = status.stable
        let shownAlert: PageTable.Cell = alert.map { .badge("\($0.kind.rawValue) alert", .bad) } ?? .text("")
        return [
            .text(ref.name, path: ConsolePath.endpoint(ref)), .text(ref.environment?.rawValue ?? ""),
            stable.map { .text("\($0.model)/\($0.modelVersion)", path: ConsolePath.version($0.model, $0.modelVersion)) }
                ?? .badge("no release", .warn),
            phase, .number(Shown.count(requests)), .number(EndpointRow.percent(errorShare)),
            .number(Shown.duration(seconds: stable?.p50)), .number(Shown.duration(seconds: stable?.p99)), shownAlert,
        ]
    }

    static let columns: [PageTable.Column] = [
        .init("Endpoint", sort: "name"), .init("Environment", sort: "environment"), .init("Serves", sort: "model"),
        .init("State", sort: "state"),
        .init("Requests", sort: "requests", isNumber: true), .init("Errors", sort: "errors", isNumber: true),
        .init("p50", sort: "p50", isNumber: true),
        .init("p99", sort: "p99", isNumber: true), .init("Alerts", sort: "alerts"),
    ]

    static let sorts: [String: @Sendable (EndpointRow) -> SortValue] = [
        "name": { .text($0.ref.name) }, "environment": { .text($0.ref.environment?.rawValue ?? "") },
        "model": { .text($0.status.stable.map { "\($0.model)/\($0.modelVersion)" } ?? "") }, "state": { .text($0.status.phase) },
        "requests": { .number(Double($0.requests)) }, "errors": { .number($0.errorShare) }, "p50": { .number($0.status.stable?.p50 ?? -1) },
        "p99": { .number($0.status.stable?.p99 ?? -1) }, "alerts": { .number($0.alert == nil ? 0 : 1) },
    ]
}

func addEndpointPages(to pages: ConsoleRoutes) {
    pages.page("/endpoints", .releasesRead, on: .each) { asked in
        var rows = try await EndpointRow.all(asked.console, asked.grant)
        if let environment = asked.query["environment"] { rows = rows.filter { $0.ref.environment?.rawValue == environment } }
        if let text = asked.query["q"] { rows = rows.filter { $0.ref.name.localizedStandardContains(text) } }
        let slice = try TableSlice(
            rows, asked.query, limit: try asked.query.limit(), standard: "name", sorts: EndpointRow.sorts, id: { $0.ref.qualifiedName })
        let table = PageTable(
            "Endpoints", EndpointRow.columns, slice.items.map(\.cells), next: slice.next,
            empty: "No endpoint matches. Declare an Endpoint and apply it: keel apply, then keel deploy NAME MODEL.")
        return Page(
            "Endpoints", in: .endpoints, template: "endpoints",
            [
                "table": table.view(asked.query), "q": asked.query["q"] ?? "",
                "environments": EnvironmentName.allCases.map { environment in
                    ["name": environment.rawValue, "isChosen": asked.query["environment"] == environment.rawValue] as View
                },
            ])
    }
    addEndpointPage(to: pages)
    addReleasePage(to: pages)
    addTryPages(to: pages)
    addPredictionPages(to: pages)
    addScoreChart(to: pages)
    addEndpointHistory(to: pages)
}

import Contracts
import Pipelines
import Storage

/// What is live, what needs somebody, and what moved since yesterday; of each what the caller may see.
func addHomePage(to pages: ConsoleRoutes) {
    pages.pageForEveryCaller("") { asked in
        var view: View = ["who": asked.caller.name, "workspace": asked.caller.workspace.name, "live": false, "moved": false]
        var needs: [Need] = []
        if let grant = asked.grant(.releasesRead) {
            let rows = try await EndpointRow.all(asked.console, grant)
            let busiest = rows.sorted { ($0.requests, $1.ref.qualifiedName) > ($1.requests, $0.ref.qualifiedName) }.prefix(Home.rowsMax)
            view["live"] =
                PageTable(
                    "Endpoints, the busiest first", EndpointRow.columns.map { .init($0.title, isNumber: $0.isNumber) },
                    busiest.map(\.cells),
                    empty: "Nothing serves yet. Declare an Endpoint, apply it and deploy a model: keel apply, keel deploy."
                ).view(asked.query) as View
            needs += rows.compactMap(Home.alert) + rows.compactMap(Home.rollout)
        }
        needs += try await Home.failedRuns(asked)
        let events = try await Home.events(asked)
        needs += events.compactMap(Home.event)
        if asked.grant(.ledgerRead) != nil {
            let moved = events.filter(Home.isWorthTelling).prefix(Home.eventsMax)
            view["moved"] = LedgerRows.table("What moved since yesterday, the newest first", Array(moved), in: asked.caller.workspace).view(
                asked.query)
        }
        view["needs"] = needs.prefix(Home.needsMax).map(\.view)
        view["needsNothing"] = needs.isEmpty
        view["more"] = needs.count > Home.needsMax ? needs.count - Home.needsMax : false
        return Page("Home", in: .home, template: "home", view)
    }
}

/// Something that waits for somebody.
struct Need: Sendable {
    let what: String
    let level: PageTable.Level
    let title: String
    let path: String?
    let text: String
    let at: Timestamp?

    var view: View {
        ["what": what, "level": level.rawValue, "subject": Shown.text(title, path: path), "text": text.visible(), "at": Shown.time(at)]
    }
}

enum Home {
    static let rowsMax = 12
    static let needsMax = 20
    static let eventsMax = 30
    /// Of the last day at most so many events are looked at.
    private static let readMax = 2000

    static func alert(_ row: EndpointRow) -> Need? {
        row.alert.map { alert in
            let worst = alert.columns.filter(\.drifted).max { $0.psi < $1.psi }
            return Need(
                what: "alert", level: .bad, title: row.ref.qualifiedName, path: ConsolePath.endpoint(row.ref),
                text: "\(alert.kind.rawValue)\(worst.map { ": \($0.name), PSI \($0.psi.decimals(3))" } ?? "")", at: alert.until)
        }
    }

    static func rollout(_ row: EndpointRow) -> Need? {
        guard let candidate = row.status.candidate else { return nil }
        return Need(
            what: "rollout", level: .info, title: row.ref.qualifiedName, path: ConsolePath.endpoint(row.ref),
            text: "release \(candidate.release) (\(candidate.model)/\(candidate.modelVersion)) is in \(row.status.phase)", at: nil)
    }

    static func failedRuns(_ asked: CallerRequest) async throws -> [Need] {
        guard let grant = asked.grant(.pipelinesRead), (try? grant.requireWhole()) != nil else { return [] }
        let since = asked.now - .days(1)
        return try await asked.platform.pipelines.runs(limit: 50, grant: grant).filter {
            $0.state == .failed && $0.finishedAt ?? $0.startedAt > since
        }.map {
            Need(
                what: "failed run", level: .bad, title: $0.pipeline, path: ConsolePath.pipelineRun($0.id),
                text: String(($0.error ?? "").prefix(300)),
                at: $0.finishedAt)
        }
    }

    /// The events of the last day, the newest first; none for those who may not read the ledger.
    static func events(_ asked: CallerRequest) async throws -> [LedgerEvent] {
        guard asked.grant(.ledgerRead) != nil else { return [] }
        let since = asked.now - .days(1)
        return try await asked.platform.database.read(in: asked.caller.workspace) { db in
            try db.ledgerEvents(after: try db.ledgerSeq(at: since), newestFirst: true, limit: readMax)
        }
    }

    /// What an event of the last day asks for, besides alerts and runs, which are asked of their own modules.
    static func event(_ event: LedgerEvent) -> Need? {
        switch event.kind {
        case "dataset.snapshot":
            guard let rows = event.data["quarantined"]?.integer, rows > 0 else { return nil }
            return Need(
                what: "quarantine", level: .warn, title: event.subject,
                path: ConsolePath.subject(event.subject, in: WorkspaceID(stored: event.workspace)),
                text: "\(rows) rows are in quarantine", at: event.at)
        case "evidence.gate", "model.version.gate":
            guard let verdict = event.data["verdict"]?.string, verdict.hasPrefix("failed") else { return nil }
            return Need(what: "gate", level: .warn, title: event.subject, path: ConsolePath.event(event.seq), text: verdict, at: event.at)
        case "release.rolledback":
            return Need(
                what: "rolled back", level: .warn, title: event.subject,
                path: ConsolePath.subject(event.subject, in: WorkspaceID(stored: event.workspace)),
                text: LedgerRows.details(event), at: event.at)
        case "damage.found":
            return Need(
                what: "damage", level: .bad, title: event.subject, path: ConsolePath.event(event.seq), text: LedgerRows.details(event),
                at: event.at)
        default: return nil
        }
    }

    /// Runs that log and people who come in are many, and change nothing that others work on.
    static func isWorthTelling(_ event: LedgerEvent) -> Bool {
        !["run.", "artifact.", "access.", "experiment.", "pipeline.step.", "evidence."].contains { event.kind.hasPrefix($0) }
    }
}

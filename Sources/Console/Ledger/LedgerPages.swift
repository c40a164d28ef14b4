import Contracts
import Storage

/// The ledger: events by who, what and when, one event, the state of the chain, and what was live at an instant.
func addLedgerPages(to pages: ConsoleRoutes) {
    pages.page("/ledger", .ledgerRead) { asked in
        let search = try LedgerSearch(asked.query)
        let found = try await asked.platform.database.read(in: asked.grant.workspace) { try search.run($0) }
        let count = try await asked.platform.database.read(in: asked.grant.workspace) { try $0.ledgerEventCount() }
        let table = LedgerRows.table("Events, the newest first", found.events, in: asked.grant.workspace, next: found.next.map(String.init))
        return Page(
            "Ledger", in: .ledger, template: "ledger",
            [
                "table": table.view(asked.query), "who": search.who ?? "", "kind": asked.query["kind"] ?? "",
                "subject": search.subject ?? "",
                "since": asked.query["since"] ?? "", "until": asked.query["until"] ?? "", "count": Shown.count(Int(count)),
                "hasStopped": found.hasStopped,
            ])
    }
    pages.page("/ledger/live-at", .ledgerRead) { asked in
        let at = try asked.query.instant("at") ?? asked.now
        return Page(
            "What was live at", in: .ledger, below: [.init("Ledger", "/console/ledger")], template: "live-at",
            try await LiveAt.view(at, asked))
    }
    pages.page("/ledger/:seq", .ledgerRead) { asked in
        guard let seq = Int64(try asked.name("seq")), seq > 0 else {
            throw KeelError.invalid("an event is named by its number", path: "seq")
        }
        let (found, isIntact) = try await asked.platform.database.read(in: asked.grant.workspace) { db in
            let found = try db.ledgerEvents(after: seq - 1, before: seq + 1, limit: 1).first
            return (found, try found.map { try db.isIntact($0) } ?? false)
        }
        guard let event = found else { throw KeelError.notFound("there is no event \(seq) in this workspace") }
        return Page(
            "Event \(seq)", in: .ledger, below: [.init("Ledger", "/console/ledger")], template: "event",
            eventView(event, isIntact: isIntact))
    }
    pages.formPage("/ledger/verify", .ledgerRead) { asked, _ in
        let answer = try await asked.platform.verifying.ledger(asked.grant)
        return Page(
            "The chain", in: .ledger, below: [.init("Ledger", "/console/ledger")], template: "chain",
            [
                "events": Shown.count(Int(answer["events"]?.integer ?? 0)), "head": answer["head"]?.string ?? "",
                "problem": answer["problem"]?.string ?? false, "isWhole": answer["problem"] == nil, "at": Shown.time(asked.now),
            ])
    }
}

private func eventView(_ event: LedgerEvent, isIntact: Bool) -> View {
    let path = ConsolePath.subject(event.subject, in: WorkspaceID(stored: event.workspace))
    return [
        "seq": event.seq, "at": Shown.time(event.at), "who": LedgerRows.who(event), "persona": event.persona, "request": event.requestID,
        "kind": event.kind, "level": LedgerRows.level(event.kind).rawValue, "subject": Shown.text(event.subject, path: path),
        "data": String(event.data.pretty.visible(keepingLines: true).prefix(50_000)), "hash": event.hash, "isIntact": isIntact,
        "previous": event.seq > 1 ? ConsolePath.event(event.seq - 1) : false, "next": ConsolePath.event(event.seq + 1),
        "onSubject": "/console/ledger?subject=\(percentEncoded(event.subject))",
        "ofWho": "/console/ledger?who=\(percentEncoded(event.caller))",
    ]
}

/// What somebody looks for in the ledger.
struct LedgerSearch: Sendable {
    let who: String?
    let kind: String?
    let subject: String?
    let since: Timestamp?
    let until: Timestamp?
    let before: Int64
    let limit: Int
    /// A search by who reads so many events at most for a page; the next page goes on behind them.
    private static let readMax = 5000
    private static let batch = 500

    init(_ query: PageQuery) throws(KeelError) {
        who = query["who"]
        // `release` means all of what happens to releases.
        kind = query["kind"].map { $0.contains(".") ? $0 : $0 + "." }
        subject = query["subject"]
        since = try query.instant("since")
        until = try query.instant("until")
        limit = try query.limit()
        guard let text = query["after"] else {
            before = .max
            return
        }
        guard let seq = Int64(text), seq > 0 else { throw .invalid("is not the number of an event", path: "after") }
        before = seq
    }

    struct Found: Sendable {
        var events: [LedgerEvent] = []
        /// The event behind which the next page begins; nil at the end.
        var next: Int64?
        /// Whether not all that was asked for was read.
        var hasStopped = false
    }

    func run(_ db: some Querying) throws -> Found {
        let first = try since.map { try db.ledgerSeq(at: Timestamp(microseconds: $0.microseconds - 1)) } ?? 0
        var end = before
        if let until { end = min(end, try db.ledgerSeq(at: until) + 1) }
        var found = Found()
        var read = 0
        while true {
            let size = who == nil ? limit + 1 : LedgerSearch.batch
            let events = try db.ledgerEvents(after: first, before: end, newestFirst: true, kind: kind, subject: subject, limit: size)
            for event in events where who == nil || event.caller == who || event.actors.contains(who ?? "") {
                if found.events.count == limit {
                    found.next = found.events.last?.seq
                    return found
                }
                found.events.append(event)
            }
            guard events.count == size, let last = events.last else { return found }
            read += events.count
            end = last.seq
            if read >= LedgerSearch.readMax {
                found.next = end
                found.hasStopped = true
                return found
            }
        }
    }
}

import Contracts
import Storage

/// Events of the ledger as tables show them.
enum LedgerRows {
    enum Left { case nothing, subject }

    static func table(
        _ caption: String, _ events: [LedgerEvent], in workspace: WorkspaceID, without left: Left = .nothing, next: String? = nil
    ) -> PageTable {
        var columns: [PageTable.Column] = [.init("Event", isNumber: true), .init("When"), .init("Who"), .init("What")]
        if left != .subject { columns.append(.init("On")) }
        columns.append(.init("Details"))
        return PageTable(
            caption, columns, events.map { cells($0, in: workspace, without: left) }, next: next,
            empty: "Nothing here. Events appear as something changes.")
    }

    static func cells(_ event: LedgerEvent, in workspace: WorkspaceID, without left: Left) -> [PageTable.Cell] {
        var cells: [PageTable.Cell] = [
            .mono(String(event.seq), path: ConsolePath.event(event.seq)), .time(event.at), .text(who(event)),
            .badge(event.kind, level(event.kind)),
        ]
        if left != .subject { cells.append(.text(event.subject, path: ConsolePath.subject(event.subject, in: workspace))) }
        cells.append(.text(details(event)))
        return cells
    }

    static func who(_ event: LedgerEvent) -> String {
        event.actors.isEmpty ? event.caller : "\(event.caller), through \(event.actors.joined(separator: ", "))"
    }

    /// The reason, when the event has one, and else its short members.
    static func details(_ event: LedgerEvent) -> String {
        if let reason = event.data["reason"]?.string, !reason.isEmpty { return reason }
        let short = (event.data.members ?? []).filter { !$0.value.isNull && $0.value.members == nil && $0.value.array == nil }
        return short.prefix(4).map { "\($0.key): \($0.value.string ?? $0.value.text)" }.joined(separator: ", ")
    }

    static func level(_ kind: String) -> PageTable.Level {
        switch kind {
        case "monitor.alert", "access.denied", "damage.found": .bad
        case "release.rolledback", "rollout.aborted", "rollout.paused", "trigger.skipped": .warn
        case "release.promoted": .ok
        default: .info
        }
    }
}

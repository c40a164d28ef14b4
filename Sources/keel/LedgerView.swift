import Contracts

/// Events of the ledger for people.
enum LedgerView {
    static func show(_ events: [JSON]) {
        Terminal.table(
            ["seq", "at", "by", "kind", "subject", "data"],
            events.map { event in
                ["seq", "at", "caller", "kind", "subject"].map(event.cell) + [text(event["data"] ?? .null)]
            }, wrapsLast: true)
    }

    /// `release 8, reason logloss > incumbent.logloss * 1.05`: texts whole, lists of things by their ids.
    static func text(_ data: JSON) -> String {
        (data.members ?? []).filter { !$0.value.isNull }.map { member in
            if let items = member.value.array, !items.isEmpty {
                let names = items.compactMap { $0["id"]?.string ?? $0.string }
                return "\(member.key) " + (names.count == items.count ? names.joined(separator: " ") : member.value.text)
            }
            return "\(member.key) \(member.value.string ?? member.value.text)"
        }.joined(separator: ", ")
    }
}

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

    /// `release 8, reason logloss > incumbent.logloss * 1.05`: texts whole, lists of things by their ids, digests by their beginnings.
    static func text(_ data: JSON) -> String {
        (data.members ?? []).filter { !$0.value.isNull }.map { member in
            if let items = member.value.array, !items.isEmpty {
                let names = items.compactMap { $0["id"]?.string ?? $0.string }
                return "\(member.key) " + (names.count == items.count ? names.joined(separator: " ") : member.value.text)
            }
            return "\(member.key) \(member.value.string.map(short) ?? member.value.text)"
        }.joined(separator: ", ")
    }

    /// The beginning of a digest; any other text as it is.
    private static func short(_ text: String) -> String {
        text.utf8.count == 64 && text.allSatisfy(\.isHexDigit) ? String(text.prefix(12)) : text
    }
}

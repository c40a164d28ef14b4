import Contracts

/// Ids in lists, in few characters.
///
/// Ids sort by time: those of one list share their beginning, and differ at their ends, which are random.
package enum ShortID {
    package static let least = 8

    /// The shortest ends, of one length, that tell these ids apart; at least eight characters.
    package static func texts(_ ids: [String]) -> [String: String] {
        let different = Set(ids)
        let longest = different.map(\.count).max() ?? 0
        var length = min(least, longest)
        while length < longest, Set(different.map { $0.suffix(length) }).count < different.count { length += 1 }
        return Dictionary(uniqueKeysWithValues: different.map { ($0, String($0.suffix(length))) })
    }

    /// Whether `text` is the beginning or the end of an id.
    package static func fits(_ text: String, _ id: String) -> Bool { !text.isEmpty && (id.hasPrefix(text) || id.hasSuffix(text)) }

    /// The one id that begins or ends with `text`; nil when none does.
    /// - Parameter candidates: ids, each with what tells people which it is.
    /// - Throws: `invalidArgument` that lists the candidates when there are several.
    package static func find(_ text: String, _ thing: String, among candidates: [(id: String, about: String)]) throws(KeelError) -> String?
    {
        if let exact = candidates.first(where: { $0.id == text }) { return exact.id }
        let found = candidates.filter { fits(text, $0.id) }
        guard found.count > 1 else { return found.first?.id }
        let listed = found.prefix(5).map { "\($0.id) (\($0.about))" }.joined(separator: ", ")
        throw .invalid(
            "'\(text)' may be several \(thing)s: \(listed)\(found.count > 5 ? " and \(found.count - 5) more" : "")",
            hint: "give more of the id, from its beginning or to its end")
    }
}

extension Connection {
    /// The id of a pipeline's run by itself, its beginning or its end; `text` itself when the recent runs have none such.
    package func pipelineRun(_ text: String) async throws -> String {
        let runs = try await get("/api/v1/runs?limit=1000")["runs"]?.items ?? []
        let candidates = runs.map { ($0["id"]?.string ?? "", "\($0.cell("pipeline")), \($0.cell("state")) since \($0.cell("started_at"))") }
        return try ShortID.find(text, "run", among: candidates) ?? text
    }
}

import Contracts
import Hummingbird

extension APIOperation {
    /// Refuses what the route would pass over in silence: a parameter that it does not know, and a body where it takes none.
    func check(_ request: Request) async throws {
        let known = query.map(\.name)
        if let stranger = request.queryItems.first(where: { !known.contains($0.name) })?.name {
            throw KeelError.invalid(
                "unknown parameter '\(stranger.prefix(60))'",
                hint: nearest(stranger, in: known).map { "did you mean '\($0)'?" }
                    ?? (known.isEmpty ? "this route takes none" : "known parameters: \(known.sorted().joined(separator: ", "))"),
                path: String(stranger.prefix(60)))
        }
        guard body == nil, method != "GET", method != "DELETE" else { return }
        let bytes = Array(buffer: try await request.collected(upTo: 1024, hint: "this route takes no body"))
        guard bytes.isEmpty || (try? JSON.parse(bytes)) == .object([]) else {
            throw KeelError.invalid("this route takes no body", hint: "leave it out: nothing of it would be used")
        }
    }
}

extension Request {
    /// The parameters of the query, in order. Forms write a space as `+`.
    var queryItems: [(name: String, value: String)] {
        (uri.query ?? "").split(separator: "&").map { part in
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = sides.count == 2 ? percentDecoded(sides[1], plusIsSpace: true) : ""
            return (percentDecoded(sides[0], plusIsSpace: true), value)
        }
    }

    public func query(_ name: String) -> String? { queries(name).first }

    /// The values of a parameter that may be repeated.
    public func queries(_ name: String) -> [String] { queryItems.filter { $0.name == name }.map(\.value) }
}

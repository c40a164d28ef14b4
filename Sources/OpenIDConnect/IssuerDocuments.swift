import Contracts
import Outgoing

/// Fetches the documents in which an issuer says what it is and which keys it has.
package protocol IssuerDocuments: Sendable {
    /// - Throws: `unavailable` when there is no answer, or not the document; `invalidArgument` for an address that may not be called.
    func document(at url: String) async throws -> IssuerDocument
}

package struct IssuerDocument: Sendable {
    package let content: JSON
    /// How long it may be kept, as the answer says.
    package let maxAge: TimeSpan?

    package init(content: JSON, maxAge: TimeSpan? = nil) {
        self.content = content
        self.maxAge = maxAge
    }
}

/// Fetches them over HTTP, guarded.
package struct HTTPIssuerDocuments: IssuerDocuments {
    private let http: GuardedHTTP
    private static let bytesMax = 512 << 10

    package init(_ http: GuardedHTTP) { self.http = http }

    package func document(at url: String) async throws -> IssuerDocument {
        let answer = try await http.get(url, bytesMax: HTTPIssuerDocuments.bytesMax)
        guard answer.status == 200 else { throw KeelError(.unavailable, "\(url) answered with the status \(answer.status)") }
        let content: JSON
        do { content = try JSON.parse(answer.body) } catch {
            throw KeelError(.unavailable, "\(url) answered with something that is not JSON")
        }
        return IssuerDocument(content: content, maxAge: answer.header("cache-control").flatMap(HTTPIssuerDocuments.maxAge))
    }

    /// RFC 9111, section 5.2.2.
    package static func maxAge(_ cacheControl: String) -> TimeSpan? {
        for part in cacheControl.lowercased().split(separator: ",") {
            let words = part.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\"" } }
            if words.count == 2, words[0] == "max-age", let seconds = Int64(words[1]), seconds >= 0 { return .seconds(seconds) }
        }
        return nil
    }
}

import Contracts
import Registry
import Serving
import Storage

/// Finds things by name or id, of what the caller may see: `/console/search?q=`. The dialog shows its answer as a fragment.
func addSearchPage(to pages: ConsoleRoutes) {
    pages.pageForEveryCaller("/search") { asked in
        let text = String((asked.query["q"] ?? "").prefix(200))
        let found = text.isEmpty ? [] : try await Search.run(text, asked)
        return Page(
            "Search", in: nil, template: "search",
            ["q": text, "isEmpty": found.isEmpty && !text.isEmpty, "results": found.map(\.view)])
    }
}

struct SearchResult: Sendable {
    let kind: String
    let name: String
    let path: String

    var view: View { ["kind": kind, "item": Shown.text(name, path: path), "path": path] }
}

enum Search {
    /// Of each kind.
    private static let resultsMax = 8

    static func run(_ text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        var found: [SearchResult] = []
        found += try await event(text, asked)
        found += endpoints(text, asked)
        found += try await models(text, asked)
        found += try await run(id: text, asked)
        found += try await prediction(text, asked)
        found += try await resources(text, asked)
        return found
    }

    private static func event(_ text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        guard asked.grant(.ledgerRead) != nil, let seq = Int64(text.hasPrefix("#") ? String(text.dropFirst()) : text), seq > 0 else {
            return []
        }
        let events = try await asked.platform.database.read(in: asked.caller.workspace) {
            try $0.ledgerEvents(after: seq - 1, before: seq + 1, limit: 1)
        }
        return events.map { SearchResult(kind: "event", name: "\($0.seq): \($0.kind) on \($0.subject)", path: ConsolePath.event($0.seq)) }
    }

    private static func endpoints(_ text: String, _ asked: CallerRequest) -> [SearchResult] {
        asked.platform.runtime.status().lazy.map(\.ref).filter {
            $0.workspace == asked.caller.workspace && asked.caller.may(.releasesRead, on: $0)
                && $0.qualifiedName.localizedCaseInsensitiveContains(text)
        }.prefix(resultsMax).map { SearchResult(kind: "endpoint", name: $0.qualifiedName, path: ConsolePath.endpoint($0)) }
    }

    private static func models(_ text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        guard let grant = asked.grant(.registryRead) else { return [] }
        let search = RegistrySearch(clauses: [SearchClause(.attribute, "name", .ilike, .text("%\(text)%"))], pageSize: resultsMax)
        return try await asked.platform.registry.searchModels(search, grant).items.map {
            SearchResult(kind: "model", name: $0.name, path: ConsolePath.model($0.name))
        }
    }

    private static func run(id text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        guard let grant = asked.grant(.trackingRead), text.utf8.count == 32, text.allSatisfy(\.isHexDigit) else { return [] }
        guard let run = try? await asked.platform.tracking.run(id: text, grant) else { return [] }
        return [SearchResult(kind: "run", name: run.name.isEmpty ? text : run.name, path: ConsolePath.run(run.experimentID, text))]
    }

    private static func prediction(_ text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        guard let grant = asked.grant(.predictionsRead) else { return [] }
        let endpoints = try await PredictionQueries(database: asked.platform.database).endpoints(ofPrediction: text, grant)
        return endpoints.prefix(resultsMax).map {
            SearchResult(kind: "prediction", name: "\(text) of \($0.qualifiedName)", path: ConsolePath.prediction($0, text))
        }
    }

    /// What is declared and has a page, besides endpoints.
    private static func resources(_ text: String, _ asked: CallerRequest) async throws -> [SearchResult] {
        guard let grant = asked.grant(.resourcesRead) else { return [] }
        let all = try await asked.platform.resources.all(by: grant).map { $0.resource.ref(in: grant.workspace) }
        return all.lazy.filter { $0.kind != EndpointSpec.kind && $0.name.localizedCaseInsensitiveContains(text) }.compactMap { ref in
            ConsolePath.subject(ref.subject, in: ref.workspace).map {
                SearchResult(kind: ref.kind.lowercased(), name: ref.qualifiedName, path: $0)
            }
        }.prefix(resultsMax).map { $0 }
    }
}

import Contracts
import Storage

/// Where a version's files lie and what it comes from, as MLflow's server demands it of a source.
struct ModelSource {
    let source: String
    let location: String
    let runID: String?
    let modelID: String?
    /// The version that it is a copy of.
    var copied: VersionKey?
}

extension RegistryService {
    func origin(of source: String, runID: String?, modelID: String?, prompt: Bool, _ grant: Grant) async throws -> ModelSource {
        let (runID, modelID) = (runID.flatMap { $0.isEmpty ? nil : $0 }, modelID.flatMap { $0.isEmpty ? nil : $0 })
        if prompt {
            guard ["prompt-template", "dummy-source"].contains(source) else {
                throw KeelError.invalid("Invalid prompt source: '\(source.prefix(500))'. Prompt sources must use an MLflow placeholder.")
            }
            return ModelSource(source: source, location: source, runID: runID, modelID: modelID)
        }
        let named = SourceRules.loggedModel(source)
        if source.hasPrefix("models:/"), named == nil { return try await copied(source, runID: runID, modelID: modelID, grant) }
        let logged = named ?? modelID
        try SourceRules.checkPath(source, needing: modelID == nil ? "run" : "model", given: modelID ?? runID)
        if let logged, let loggedModels {
            guard let found = try await loggedModels.loggedModel(logged, in: grant.workspace) else { throw SourceRules.mismatch(source, "model_id") }
            if source.hasPrefix("models:/") {
                guard modelID == logged else { throw SourceRules.mismatch(source, "model_id") }
                return ModelSource(source: source, location: found.artifactURI, runID: found.runID, modelID: logged)
            }
            if SourceRules.isProxied(source), !SourceRules.isWithin(source, found.artifactURI) {
                throw SourceRules.mismatch(source, "model_id")
            }
            return ModelSource(source: source, location: source, runID: found.runID, modelID: logged)
        }
        if SourceRules.isProxied(source), let runs {
            guard let runID, let root = try await runs.artifactURI(ofRun: runID, in: grant.workspace), SourceRules.isWithin(source, root) else {
                throw SourceRules.mismatch(source, "run_id")
            }
        }
        if source.hasPrefix("runs:/") {
            let parts = source.dropFirst("runs:/".count).split(separator: "/", maxSplits: 1)
            guard let runID, parts.first.map(String.init) == runID else { throw SourceRules.mismatch(source, "run_id") }
            if parts.count == 2, let root = try await runs?.artifactURI(ofRun: runID, in: grant.workspace) {
                return ModelSource(source: source, location: "\(root)/\(parts[1])", runID: runID, modelID: modelID)
            }
        }
        return ModelSource(source: source, location: source, runID: runID, modelID: logged)
    }

    /// `models:/name/3`: the new version has the files and the lineage of that one.
    private func copied(_ source: String, runID: String?, modelID: String?, _ grant: Grant) async throws -> ModelSource {
        guard let reference = ModelURI(source) else { throw SourceRules.mismatch(source, "model_id") }
        // Whoever has a copy has its files.
        _ = try Grant.check(grant.caller, may: .registryRead, on: RegistryService.thing(reference.name, grant).subject)
        let (version, isPrompt) = try await database.read(in: grant.workspace) { db in
            _ = try RegistryStore.model(db, reference.name)
            let isPrompt = try RegistryStore.isPrompt(db, reference.name)
            if case .version(let number) = reference.target { return (try RegistryStore.version(db, reference.name, number), isPrompt) }
            guard let found = try reference.resolve(on: db) else {
                throw KeelError.notFound("No model version is at '\(source.prefix(500))'")
            }
            return (found, isPrompt)
        }
        guard !isPrompt else {
            throw KeelError.invalid("Invalid model version source: '\(source)'. Prompt versions cannot be used as model version sources.")
        }
        guard runID == nil || runID == version.runID, modelID == nil || modelID == version.modelID else {
            throw KeelError.invalid(
                "Invalid model version source: '\(source)'. The run_id and model_id request parameters must match the referenced model version."
            )
        }
        return ModelSource(
            source: version.uri, location: version.storageLocation, runID: version.runID, modelID: version.modelID,
            copied: VersionKey(version.name, version.version))
    }
}

/// What a source may be, with MLflow's wording.
enum SourceRules {
    static func mismatch(_ source: String, _ parameter: String) -> KeelError {
        .invalid(
            "Invalid model version source: '\(source.prefix(500))'. The \(parameter) request parameter must identify the resource that contains the source."
        )
    }

    /// The id in `models:/m-…`; `models:/m-team/3` is a version of a model whose name begins so.
    static func loggedModel(_ source: String) -> String? {
        guard source.hasPrefix("models:/m-") else { return nil }
        let id = source.dropFirst("models:/".count)
        return id.contains("/") || id.contains("@") ? nil : String(id)
    }

    /// Refuses paths of the server's own disk, and paths that climb, however often they are escaped.
    /// - Parameter given: the run or logged model that the source is said to be of. None of Keel's has its artifacts on the server's disk.
    static func checkPath(_ source: String, needing owner: String, given: String?) throws(KeelError) {
        // What is escaped deeper than anyone writes is refused like a path that climbs.
        let resolved = unescaped(source)
        let plain = resolved ?? source
        let climbs =
            resolved == nil || plain.utf8.contains(0) || plain.split(separator: "/", omittingEmptySubsequences: false).contains("..")
            || plain.split(separator: "/").contains(".")
        guard !isLocal(plain), !isLocal(source) else {
            guard given == nil else { throw mismatch(source, "\(owner)_id") }
            throw .invalid(
                "Invalid model version source: '\(source.prefix(500))'. To use a local path as a model version source, the \(owner)_id request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the \(owner)_id."
            )
        }
        guard !climbs else {
            throw .invalid(
                "Invalid model version source: '\(source.prefix(500))'. If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references present. Please provide an absolute path."
            )
        }
    }

    /// A path without a scheme, or `file:`. A digest (`sha256:…`) names content of Keel's own.
    static func isLocal(_ source: String) -> Bool {
        guard let colon = source.firstIndex(of: ":") else { return true }
        let scheme = source[..<colon].lowercased()
        return scheme == "file" || scheme.isEmpty || scheme.contains("/") || source.hasPrefix("\\\\")
    }

    /// Whether it lies behind a server's artifact proxy.
    static func isProxied(_ source: String) -> Bool {
        let lower = source.lowercased()
        if lower.hasPrefix("mlflow-artifacts:") { return true }
        return (lower.hasPrefix("http://") || lower.hasPrefix("https://")) && lower.contains("/api/2.0/mlflow-artifacts/artifacts")
    }

    static func isWithin(_ source: String, _ root: String) -> Bool {
        let (inner, outer) = (parts(source), parts(root))
        return !outer.isEmpty && inner.count >= outer.count && Array(inner.prefix(outer.count)) == outer
    }

    private static func parts(_ uri: String) -> [String] {
        (unescaped(uri) ?? uri).split(separator: "/").map(String.init)
    }

    /// The text with its percent escapes resolved, and those that come out of them; nil when that takes more than a few rounds.
    private static func unescaped(_ text: String) -> String? {
        var text = text
        for _ in 0..<8 {
            let next = percentDecoded(text)
            if next == text { return text }
            text = next
        }
        return nil
    }
}

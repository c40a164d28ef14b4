import Contracts
import Registry
import Serving
import Storage
import Tracking

/// Upkeep at the start and in the background.
extension Platform {
    /// Ends uploads whose time is over: at the start, then every hour.
    func sweepUploads() async {
        repeat {
            do { try await tracking.sweepUploads(Grant.check(.system("uploads"), may: .trackingWrite, on: "uploads")) } catch {
                logger.error("could not end old uploads: \(KeelError.wrapping(error))")
            }
        } while (try? await Task.sleep(for: .seconds(3600))) != nil
    }

    /// Artifacts of an older version lie under their own paths: they become content before anything is served.
    func adoptArtifacts() async throws {
        let grant = try Grant.check(.system("artifacts"), may: .trackingWrite, on: "artifacts")
        let count = try await objects.adoptFiles(below: "artifacts") { path, object in
            try await tracking.referArtifact(path: path, to: object, grant)
        }
        if count > 0 { logger.notice("\(count) artifacts of an older version are content-addressed now") }
    }

    /// What earlier versions of Keel kept as tags becomes evidence, once.
    func takeOverEvidence() async throws {
        let count = try await registry.takeOver(Grant.check(.system("evidence"), may: .registryWrite, on: "models"))
        if count > 0 { logger.notice("the bundles of \(count) model versions are evidence now, carried over from tags") }
    }
}

/// What tracking must keep: the files of model versions.
struct RegisteredArtifacts: ArtifactUsage {
    func needed(_ db: any Querying, _ grant: Grant) throws -> [(uri: String, by: String)] { try RegistryService.neededArtifacts(db, grant) }

    func pinned(_ db: any Querying) throws -> [(uri: String, by: String)] {
        // Releases are in the workspace `default`: a model of the same name elsewhere is another one.
        guard db.workspace == nil || db.workspace == .default else { return [] }
        let versions = try DeploymentService.releasedVersions(in: db).compactMap { released in
            Int(released.version).map { VersionKey(released.model, $0) }
        }
        return try RegistryService.artifacts(db, of: versions)
    }
}

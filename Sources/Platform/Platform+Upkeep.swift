import Contracts
import Monitoring
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

    /// Endpoints and monitors of an older version had one name in all environments. Those that are declared outside of production only take what they
    /// have there. Each is decided once, before anything is served under its name.
    func placeOldNames() async throws {
        let (endpoints, monitors) = try await database.read {
            (try DeploymentService.undecidedNames(in: $0), try MonitoringService.undecidedNames(in: $0))
        }
        guard !endpoints.isEmpty || !monitors.isEmpty else { return }
        let ofEndpoints = try await environments(EndpointSpec.kind)
        let ofMonitors = try await environments(MonitorSpec.kind)
        try await database.write { tx in
            for name in endpoints {
                let environment = ofEndpoints[name] ?? .production
                try DeploymentService.decide(name, is: environment, in: tx)
                try MonitoringService.decide(endpoint: name, is: environment, in: tx)
            }
            for name in monitors { try MonitoringService.decide(name, is: ofMonitors[name] ?? .production, in: tx) }
        }
    }

    /// In which environment what is declared of a kind was: in production where one of the name is, else the nearest to it.
    private func environments(_ kind: String) async throws -> [String: EnvironmentName] {
        let grant = try Grant.check(.system("environments"), may: .resourcesRead)
        var found: [String: Set<EnvironmentName>] = [:]
        for ref in try await resources.names(of: kind, by: grant) {
            if let environment = ref.environment { found[ref.name, default: []].insert(environment) }
        }
        return found.compactMapValues { places in EnvironmentName.allCases.last(where: places.contains) }
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
        let versions = try DeploymentService.releasedVersions(in: db).compactMap { released in
            Int(released.version).map { VersionKey(released.model, $0) }
        }
        return try RegistryService.artifacts(db, of: versions)
    }
}

import Contracts
import Pipelines
import Registry
import Serving
import Storage
import Tracking

/// What a collection did, or would do.
public struct CollectionReport: Sendable {
    public let dryRun: Bool
    public let items: [PurgeItem]
    public let content: Collected
    /// Folders that models which bring code were unpacked to, and environments that they ran in.
    public let modelFolders: Int

    public var json: JSON {
        [
            "dry_run": .bool(dryRun), "objects": .int(Int64(content.objects)), "bytes": .int(content.bytes),
            "model_folders": .int(Int64(modelFolders)),
            "items": .array(
                items.map { item in
                    [
                        "kind": .string(item.kind.rawValue), "id": .string(item.id), "name": .string(item.name),
                        "deleted_at": .string(item.deletedAt.description), "files": .int(Int64(item.files)), "bytes": .int(item.bytes),
                        "kept_for": item.keptFor.map(JSON.string) ?? .null, "artifacts_elsewhere": item.elsewhere.map(JSON.string) ?? .null,
                    ]
                }),
        ]
    }

    func count(_ kind: PurgeItem.Kind) -> JSON { .int(Int64(items.count { $0.kind == kind && $0.keptFor == nil })) }
}

/// Removes what is deleted for good.
public struct Collecting: Sendable {
    private let database: Storage.Database
    private let damage: DamageRegister
    private let objects: FolderObjectStore
    private let tracking: TrackingService
    private let registry: RegistryService
    private let deployments: DeploymentService
    private let pipelines: PipelineService
    private let models: ModelLoader

    package init(
        database: Storage.Database, damage: DamageRegister, objects: FolderObjectStore, tracking: TrackingService,
        registry: RegistryService, deployments: DeploymentService, pipelines: PipelineService, models: ModelLoader
    ) {
        self.database = database
        self.damage = damage
        self.objects = objects
        self.tracking = tracking
        self.registry = registry
        self.deployments = deployments
        self.pipelines = pipelines
        self.models = models
    }

    /// Removes for good what has been in the bin long enough, then all content that nothing refers to: no artifact, no upload under way, no model
    /// version, no release, no output of a pipeline; and what models with code were unpacked to, when no release has them. Interrupted at any point, nothing that is needed is gone, and the next collection goes on.
    public func collect(_ request: PurgeRequest, dryRun: Bool, _ grant: Grant) async throws -> CollectionReport {
        try grant.require(.storageCollect)
        guard dryRun || !damage.all.contains(where: { $0.subject == Collecting.databaseSubject }) else {
            throw KeelError(
                .failedPrecondition, "the database does not know what was stored before it was made: a collection would remove it all",
                hint: "put keel.sqlite back from a backup first")
        }
        if !dryRun { try await tracking.sweepUploads(Grant.check(.system("gc"), may: .trackingWrite, on: "uploads")) }
        let items = dryRun ? try await tracking.purgeable(request, grant) : try await tracking.purge(request, grant)
        let gone = dryRun ? items : []
        let content = try await objects.collect(dryRun: dryRun) { [self] in
            try await neededContent(grant)
        } alsoNeeded: { [tracking] prefix in
            try await tracking.contentReferences(prefix: prefix, without: gone, grant)
        }
        let folders = try await models.sweep(keeping: try await deployments.bundles(grant), at: database.clock.now(), dryRun: dryRun)
        let report = CollectionReport(dryRun: dryRun, items: items, content: content, modelFolders: folders)
        if !dryRun {
            _ = try await database.write { tx in
                try tx.record(
                    "storage.collected", on: "Storage/objects",
                    [
                        "runs": report.count(.run), "logged_models": report.count(.loggedModel), "experiments": report.count(.experiment),
                        "objects": .int(Int64(content.objects)), "bytes": .int(content.bytes), "model_folders": .int(Int64(folders)),
                    ], by: grant)
            }
        }
        return report
    }

    /// The bundles of releases, versions and pipelines' outputs, each with the model that it names.
    private func neededContent(_ grant: Grant) async throws -> Set<Digest> {
        let released = try await deployments.bundles(grant)
        var needed = released
        needed.formUnion(try await registry.bundles(grant))
        needed.formUnion(try await pipelines.referencedDigests(grant))
        for digest in needed {
            // Digests of snapshots are among them, and names of what is gone already: only a bundle names another object.
            let bytes = objects.size(of: digest)
            if bytes == nil ? !released.contains(digest) : bytes ?? 0 > Collecting.manifestBytesMax { continue }
            let content: [UInt8]
            do { content = try await objects.get(digest) } catch {
                let problem = KeelError.wrapping(error)
                if problem.code == .notFound, !released.contains(digest) { continue }
                throw KeelError(
                    problem.code,
                    "nothing was removed from the objects, as one that may name a model to keep cannot be read: \(problem.message)",
                    hint: "put the object back from a backup, then collect again")
            }
            if let json = try? JSON.parse(content), let bundle = try? ModelBundle(json: json) { needed.formUnion(bundle.contents) }
        }
        return needed
    }

    /// What damage to the database itself is reported under.
    package static let databaseSubject = "Home/keel.sqlite"
    private static let manifestBytesMax: Int64 = 64 << 20
}

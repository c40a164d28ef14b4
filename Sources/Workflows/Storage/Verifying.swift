import Contracts
import Datasets
import Governance
import Serving
import Storage

/// Checks that what is stored is what was stored.
public struct Verifying: Sendable {
    private let database: Storage.Database
    private let data: DatasetService
    private let predictions: PredictionExporter
    private let objects: FolderObjectStore
    private let checkpoints: CheckpointService
    private let tokens: TokenService

    package init(
        database: Storage.Database, data: DatasetService, predictions: PredictionExporter, objects: FolderObjectStore,
        checkpoints: CheckpointService, tokens: TokenService
    ) {
        self.database = database
        self.data = data
        self.predictions = predictions
        self.objects = objects
        self.checkpoints = checkpoints
        self.tokens = tokens
    }

    /// Reads everything that is stored in any workspace under a digest (the files of all snapshots and of the prediction log, and all content: artifacts,
    /// models, bundles) and compares.
    ///
    /// - Parameter progress: called as it goes on, with the share that is done.
    /// - Returns: how much was read, and what is damaged: `{"files", "objects", "damaged": [{"subject", "problem"}]}`.
    public func stored(_ grant: Grant, progress: @Sendable (_ share: Double, _ text: String) -> Void) async throws -> JSON {
        try grant.require(.serverRead)
        let files = try await data.allFiles()
        let digests = try await objects.digests()
        let logged = try await predictions.allFiles()
        let fileCount = files.count + logged.count
        let total = Double(max(fileCount + digests.count, 1))
        var damaged: [JSON] = []
        func check(_ i: Int, _ owner: ResourceRef, _ body: () async throws -> Void) async throws {
            try Task.checkCancellation()
            progress(Double(i) / total, "file \(i + 1) of \(fileCount)")
            do { try await body() } catch {
                let isSeen = grant.seesAllWorkspaces || owner.workspace == grant.workspace
                damaged.append([
                    "subject": .string(isSeen ? owner.description : "Storage/lake"),
                    "problem": .string(isSeen ? KeelError.wrapping(error).message : "a file of another workspace is damaged"),
                ])
            }
        }
        for (i, (dataset, file)) in files.enumerated() { try await check(i, dataset) { try await data.verify(file, of: dataset) } }
        for (i, file) in logged.enumerated() { try await check(files.count + i, file.endpoint) { try await predictions.verify(file) } }
        for (i, digest) in digests.enumerated() {
            try Task.checkCancellation()
            progress(Double(fileCount + i) / total, "object \(i + 1) of \(digests.count)")
            do { try await objects.verify(digest) } catch {
                let error = KeelError.wrapping(error)
                // A collection may remove what nobody needs meanwhile.
                guard error.code != .notFound else { continue }
                damaged.append(["subject": .string("Storage/objects"), "problem": .string(error.message)])
            }
        }
        return ["files": .int(Int64(fileCount)), "objects": .int(Int64(digests.count)), "damaged": .array(damaged)]
    }

    /// Checks the ledger's chain, compares it with the signed checkpoints, and compares the stored tokens with it.
    ///
    /// The chain is read whole, whatever the workspace; of what others have in it the answer counts nothing.
    /// - Returns: what was read and, under `problem`, the first thing that is wrong.
    public func ledger(_ grant: Grant) async throws -> JSON {
        try grant.require(.ledgerRead)
        let check = try await database.read { try $0.verifyLedger() }
        let events = grant.workspace == .default ? check.events : try await database.read(in: grant.workspace) { try $0.ledgerEventCount() }
        var answer: JSON = ["events": .int(events), "head": .string(check.head)]
        var broken = check.broken
        if broken == nil { broken = try await checkpoints.problem() }
        let refused = try await tokens.refused(by: grant)
        if let broken {
            answer["seq"] = .int(broken.seq)
            answer["problem"] = .string(broken.problem)
        } else if let first = refused.first {
            answer["problem"] = .string("the stored token '\(first.name)' is not the one in the ledger: \(first.problem)")
        }
        answer["refused_tokens"] = .array(refused.map { .string($0.name) })
        return answer
    }
}

import Contracts
import Foundation

/// Contracts that are ready and not in force yet. See `DatasetService.prepare`.
public struct DatasetDraft: Sendable {
    /// The workspace whose contracts they are: those of others stay as they are.
    let workspace: WorkspaceID
    let entries: [String: DatasetService.Entry]
    /// Datasets that could not be opened, each with the reason: in force, only they are disabled.
    public let failures: [String: KeelError]
    /// The folders that were made for it.
    let newFolders: [String]

    /// The contract of a dataset in it.
    public func spec(_ dataset: String) -> DatasetSpec? { entries[dataset]?.spec }
}

/// Which datasets there are.
extension DatasetService {
    /// Makes these the contracts of a workspace. Streams of datasets that are there already go on.
    ///
    /// - Returns: datasets that could not be opened, each with the reason: only they are disabled, and the next call tries again.
    public func configure(_ specs: [DatasetSpec], in workspace: WorkspaceID) async -> [String: KeelError] {
        let draft = await prepare(specs, in: workspace)
        activate(draft)
        return draft.failures
    }

    /// Opens what these contracts need. Nothing changes until `activate`; a draft that is given up goes to `discard`.
    ///
    /// Drafts are made and activated one after another.
    public func prepare(_ specs: [DatasetSpec], in workspace: WorkspaceID) async -> DatasetDraft {
        var failures: [String: KeelError] = [:]
        var next: [String: Entry] = [:]
        var newFolders: [String] = []
        let current = entries.withLock { $0[workspace] ?? [:] }
        let broken = disabled.withLock { $0[workspace] ?? [:] }
        for spec in specs {
            let dataset = ResourceRef("Dataset", spec.name, in: workspace)
            let stream: DatasetStream
            if let existing = current[spec.name]?.stream, broken[spec.name] == nil {
                stream = existing
            } else {
                let folder = streamFolder(dataset)
                if !FileManager.default.fileExists(atPath: folder) { newFolders.append(folder) }
                do { stream = try await open(dataset, current[spec.name]?.stream) } catch {
                    failures[spec.name] = KeelError.wrapping(error)
                    continue
                }
                // A record of the newest snapshot that cannot be read is found now, not by the first who needs it. What replaces it does not need it,
                // so the dataset gets its entry all the same.
                do { _ = try await snapshot(dataset) } catch {
                    failures[spec.name] = KeelError.wrapping(error)
                }
            }
            next[spec.name] = Entry(dataset: dataset, spec: spec, pipeline: RowPipeline(spec), stream: stream)
        }
        return DatasetDraft(workspace: workspace, entries: next, failures: failures, newFolders: newFolders)
    }

    /// Puts a draft in force. Cannot fail.
    public func activate(_ draft: DatasetDraft) {
        entries.withLock { $0[draft.workspace] = draft.entries }
        disabled.withLock { $0[draft.workspace] = draft.failures }
    }

    /// Gives a draft up. What was in force stays, and the streams that were opened for the draft alone are gone: nobody could push to them.
    public func discard(_ draft: DatasetDraft) {
        for folder in draft.newFolders { try? FileManager.default.removeItem(atPath: folder) }
    }
}

import Contracts
import Storage

extension Platform {
    /// Reads everything that is stored under a digest (the files of all snapshots, and all content: artifacts, models, bundles) and compares.
    ///
    /// - Parameter progress: called as it goes on, with the share that is done.
    /// - Returns: how much was read, and what is damaged: `{"files", "objects", "damaged": [{"subject", "problem"}]}`.
    public func verifyStored(_ grant: Grant, progress: @Sendable (_ share: Double, _ text: String) -> Void) async throws -> JSON {
        try grant.require(.serverRead)
        let files = try await data.allFiles()
        let digests = try await objects.digests()
        let total = Double(max(files.count + digests.count, 1))
        var damaged: [JSON] = []
        for (i, (dataset, file)) in files.enumerated() {
            try Task.checkCancellation()
            progress(Double(i) / total, "file \(i + 1) of \(files.count)")
            do { try await data.verify(file, of: dataset) } catch {
                damaged.append(["subject": .string("Dataset/\(dataset)"), "problem": .string(KeelError.wrapping(error).message)])
            }
        }
        for (i, digest) in digests.enumerated() {
            try Task.checkCancellation()
            progress(Double(files.count + i) / total, "object \(i + 1) of \(digests.count)")
            do { try await objects.verify(digest) } catch {
                let error = KeelError.wrapping(error)
                // A collection may remove what nobody needs meanwhile.
                guard error.code != .notFound else { continue }
                damaged.append(["subject": .string("Storage/objects"), "problem": .string(error.message)])
            }
        }
        return ["files": .int(Int64(files.count)), "objects": .int(Int64(digests.count)), "damaged": .array(damaged)]
    }
}

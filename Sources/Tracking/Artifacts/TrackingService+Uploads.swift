import Contracts
import Storage
import Synchronization

/// Uploads in parts, as object stores have them: begun, filled in any order and in parallel, then completed or aborted. A part that was acknowledged
/// is durable, so an upload goes on after a restart.
extension TrackingService {
    /// - Parameters:
    ///   - path: what the artifact will be called.
    ///   - parts: 1 to 10,000.
    public func beginUpload(path: String, parts: Int, _ grant: Grant) async throws -> ArtifactUpload {
        try grant.require(.trackingWrite)
        let path = try ArtifactPath(file: path, in: grant.workspace)
        guard (1...ArtifactUpload.partsMax).contains(parts) else {
            throw KeelError.invalid("an upload has 1 to \(ArtifactUpload.partsMax) parts, not \(parts)", path: "num_parts")
        }
        return try await database.write(in: grant.workspace) { tx in
            try ArtifactStore.check(tx, path)
            let expires = Timestamp(milliseconds: (tx.now + ArtifactUpload.lifetime).milliseconds)
            let upload = ArtifactUpload(
                id: Identifier.hex32(), path: path, parts: parts, secret: Identifier.hex32() + Identifier.hex32(), caller: grant.caller,
                expiresAt: expires, completed: nil)
            try UploadStore.insert(tx, upload)
            try tx.record(
                "artifact.upload.begun", on: "Artifact/\(path)", ["upload": .string(upload.id), "parts": .int(Int64(parts))], by: grant)
            return upload
        }
    }

    /// The grant that a part's address itself carries: that of whoever began the upload.
    /// - Throws: `unauthenticated` for a signature that is not this part's, `permissionDenied` when the upload's time is over.
    public func grant(upload id: String, part: Int, signature: String) async throws -> Grant {
        guard let upload = try await database.read({ try UploadStore.find($0, id: id) }), upload.isValid(signature, part: part),
            (1...upload.parts).contains(part)
        else {
            throw KeelError(
                .unauthenticated, "this is not the address of a part of an upload", hint: "begin an upload and use the addresses it gives")
        }
        guard upload.expiresAt > database.clock.now() else {
            throw KeelError(.permissionDenied, "the time of upload \(id) is over", hint: "begin another upload")
        }
        return try Grant.check(upload.caller, may: .trackingWrite, on: "Artifact/\(upload.path)")
    }

    /// Stores a part, instead of what it was before.
    /// - Returns: its digest, which completing must name.
    public func putPart<Part: Collection<UInt8> & Sendable>(
        upload id: String, part: Int, declaredBytes: Int64? = nil, parts: some AsyncSequence<Part, any Error> & Sendable, _ grant: Grant
    ) async throws -> StoredObject {
        try grant.require(.trackingWrite)
        let size = try ContentSize(declared: declaredBytes, max: artifactBytesMax)
        let object = try await objects.putPart(upload: id, number: part, parts: parts, size: size)
        do {
            try await database.write(in: grant.workspace) { [artifactBytesMax] tx in
                guard let upload = try UploadStore.find(tx, id: id), upload.completed == nil else { throw TrackingService.noUpload(id) }
                try UploadStore.set(tx, part: part, of: id, object)
                // The parts together are no more than a whole may be.
                _ = try ContentSize(declared: try UploadStore.bytes(tx, of: id), max: artifactBytesMax)
            }
            return object
        } catch {
            // It was aborted or completed meanwhile: nobody needs its folder.
            let upload = try await database.read(in: grant.workspace) { try UploadStore.find($0, id: id) }
            if upload == nil || upload?.completed != nil { try await objects.removeUpload(id) }
            throw error
        }
    }

    /// Joins the parts; the path refers to the whole from then on. Asked again, it answers as before.
    /// - Parameter parts: every part with its digest, as storing it gave.
    /// - Throws: `invalidArgument` that names the part that is missing or another.
    public func completeUpload(id: String, path: String, parts: [(number: Int, digest: String)], _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        let upload = try await find(upload: id, path: path, grant)
        guard upload.completed == nil else { return }
        let stored = try await database.read(in: grant.workspace) { try UploadStore.parts($0, of: id) }
        let ordered = try TrackingService.order(parts, stored, of: upload)
        // A client whose patience ended asks again while the first request still works: both wait for the same join.
        try await joining.run(id) { [self] in
            guard try await database.read(in: grant.workspace, { try UploadStore.find($0, id: id)?.completed }) == nil else { return }
            let object = try await objects.join(upload: id, parts: ordered.map { ($0.number, $0.object.digest) })
            defer { objects.settle(object.digest) }
            try await database.write(in: grant.workspace) { tx in
                guard try UploadStore.find(tx, id: id) != nil else { throw TrackingService.noUpload(id) }
                try replace(tx, upload.path, with: object)
                try UploadStore.complete(tx, id: id, as: object.digest)
                try tx.record(
                    "artifact.stored", on: "Artifact/\(upload.path)",
                    ["digest": .string(object.digest.hex), "bytes": .int(object.bytes), "upload": .string(id)], by: grant)
            }
            try await objects.removeUpload(id)
        }
    }

    /// Forgets an upload and its parts.
    public func abortUpload(id: String, path: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        let upload = try await find(upload: id, path: path, grant)
        guard upload.completed == nil else {
            throw KeelError(.failedPrecondition, "upload \(id) is completed", hint: "delete the artifact instead")
        }
        try await database.write(in: grant.workspace) { tx in
            try UploadStore.delete(tx, id: id)
            try tx.record("artifact.upload.aborted", on: "Artifact/\(upload.path)", ["upload": .string(id)], by: grant)
        }
        try await objects.removeUpload(id)
    }

    /// Ends uploads whose time is over, and removes parts that belong to none.
    public func sweepUploads(_ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write { tx in
            for id in try UploadStore.expired(tx, at: tx.now) {
                guard let upload = try UploadStore.find(tx, id: id) else { continue }
                try UploadStore.delete(tx, id: id)
                if upload.completed == nil {
                    // It is told where it belongs.
                    try tx.record(
                        "artifact.upload.expired", on: "Artifact/\(upload.path)", ["upload": .string(id)],
                        by: .system("uploads", in: upload.path.workspace))
                }
            }
        }
        // The folders are asked first: an upload that begins after that is not among them.
        let folders = try await objects.uploads()
        let open = try await database.read { try UploadStore.open($0) }
        for folder in folders where !open.contains(folder) { try await objects.removeUpload(folder) }
    }

    private func find(upload id: String, path: String, _ grant: Grant) async throws -> ArtifactUpload {
        let path = try ArtifactPath(file: path, in: grant.workspace)
        guard let upload = try await database.read(in: grant.workspace, { try UploadStore.find($0, id: id) }), upload.path == path else {
            throw TrackingService.noUpload(id)
        }
        return upload
    }

    private static func order(
        _ parts: [(number: Int, digest: String)], _ stored: [Int: StoredObject], of upload: ArtifactUpload
    ) throws(KeelError) -> [(number: Int, object: StoredObject)] {
        let given = Dictionary(parts.map { ($0.number, $0.digest) }) { $1 }
        guard given.count == parts.count else { throw .invalid("a part is named twice", path: "parts") }
        if let foreign = given.keys.filter({ !(1...upload.parts).contains($0) }).min() {
            throw .invalid("the upload has \(upload.parts) parts, no part \(foreign)", path: "parts")
        }
        var ordered: [(number: Int, object: StoredObject)] = []
        for number in 1...upload.parts {
            guard let object = stored[number] else {
                throw .invalid("part \(number) has not arrived", hint: "send it, then complete again", path: "parts")
            }
            guard let digest = given[number] else { throw .invalid("part \(number) is not named", hint: "name every part", path: "parts") }
            guard digest == object.digest.hex else {
                throw .invalid(
                    "part \(number) is another one: its etag is \(object.digest.hex), not '\(digest.prefix(100))'", path: "parts")
            }
            ordered.append((number, object))
        }
        return ordered
    }

    private static func noUpload(_ id: String) -> KeelError {
        .notFound("there is no upload '\(id.prefix(100))' under way for this path", hint: "begin another upload")
    }
}

/// Work that runs once however many ask for it at the same time.
final class SharedWork: Sendable {
    private let running = Mutex<[String: Task<Void, any Error>]>([:])

    func run(_ name: String, _ body: @escaping @Sendable () async throws -> Void) async throws {
        let task = running.withLock { running in
            if let task = running[name] { return task }
            let task = Task { [self] in
                defer { self.running.withLock { $0[name] = nil } }
                try await body()
            }
            running[name] = task
            return task
        }
        try await task.value
    }
}

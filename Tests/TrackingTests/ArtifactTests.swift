import Contracts
import Foundation
import Storage
import Testing
import Tracking

private func stream(_ parts: [UInt8]...) -> AsyncThrowingStream<[UInt8], any Error> {
    AsyncThrowingStream { source in
        for part in parts { source.yield(part) }
        source.finish()
    }
}

extension Fixture {
    var collect: Grant { get throws { try Grant.check(Caller(name: "ada", persona: .owner), may: .storageCollect) } }

    func put(_ path: String, _ text: String, _ grant: Grant? = nil) async throws {
        try await tracking.putArtifact(path: path, parts: stream(Array(text.utf8)), grant ?? write)
    }

    func text(_ path: String) async throws -> String {
        String(decoding: try await objects.get(try await tracking.openArtifact(path: path, read).digest), as: UTF8.self)
    }

    func names(_ folder: String) async throws -> [String] {
        try await tracking.listArtifacts(path: folder, read).map { $0.path + ($0.isFolder ? "/" : "") }
    }

    /// Collects all content that artifacts do not need.
    func sweep() async throws -> Collected {
        let grant = try collect
        return try await objects.collect(dryRun: false) {
            []
        } alsoNeeded: {
            try await tracking.contentReferences(prefix: $0, grant)
        }
    }
}

@Suite("Artifacts")
struct ArtifactTests {
    @Test("an artifact streams in, is listed with its size, and is in the ledger with its digest")
    func stored() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        let root = try #require(TrackingService.artifactPath(of: run.artifactURI))
        #expect(root == "0/\(run.id)/artifacts")
        let parts = (0..<50).map { i in [UInt8](repeating: UInt8(i), count: 100_000) }
        let body = AsyncThrowingStream<[UInt8], any Error> { source in
            for part in parts { source.yield(part) }
            source.finish()
        }
        let object = try await f.tracking.putArtifact(path: root + "/model/data.bin", declaredBytes: 5_000_000, parts: body, f.write)
        #expect(object == StoredObject(digest: Digest(of: parts.joined()), bytes: 5_000_000))
        #expect(try await f.tracking.listArtifacts(runID: run.id, f.read).files == [Artifact(path: "model", bytes: 0, isFolder: true)])
        #expect(
            try await f.tracking.listArtifacts(runID: run.id, path: "model/", f.read).files == [
                Artifact(path: "model/data.bin", bytes: 5_000_000, isFolder: false)
            ])
        let event = try #require(try await f.database.read { try $0.ledgerEvents(kind: "artifact.stored").first })
        #expect(event.subject == "Artifact/\(root)/model/data.bin" && event.data["digest"]?.string == object.digest.hex)
    }

    @Test("the same content under many paths is kept once; a path that is replaced has the new content")
    func deduplicated() async throws {
        let f = try await Fixture()
        for i in 0..<20 { try await f.put("a/\(i)/same.txt", "same") }
        try await f.put("a/0/same.txt", "other")
        #expect(try await f.text("a/0/same.txt") == "other")
        #expect(try await f.text("a/19/same.txt") == "same")
        #expect(try await f.sweep() == Collected())
        try await f.tracking.deleteArtifact(path: "a/1", f.write)
        #expect(try await f.sweep() == Collected())
        try await f.tracking.deleteArtifact(path: "a", f.write)
        #expect(try await f.sweep() == Collected(objects: 2, bytes: 9))
        #expect(try await f.names("") == [])
    }

    @Test(
        "a path that would leave the root, or that no file system could hold, is refused and nothing is stored",
        arguments: [
            "../../keel.sqlite", "1/../../x", "", "/", "/etc/passwd", "a\\..\\b", "a\\b", "a/\0", "..", "folder/",
            String(repeating: "a", count: 256),
            String(repeating: "a/", count: 1100) + "a",
        ])
    func hostile(path: String) async throws {
        let f = try await Fixture()
        let error = await #expect(throws: KeelError.self) { try await f.put(path, "x") }
        #expect(error?.code == .invalidArgument && error?.message == "Invalid path")
        await #expect(throws: KeelError.self) { try await f.tracking.openArtifact(path: path, f.read) }
        #expect(try await f.names("") == [])
        #expect(try await f.sweep() == Collected())
    }

    @Test("empty parts and points are no parts")
    func normalForm() async throws {
        let f = try await Fixture()
        try await f.put("a//./b", "x")
        #expect(try await f.text("./a/b") == "x")
        #expect(try await f.names("a//") == ["b"])
    }

    @Test("a file is no folder and a folder no file")
    func kinds() async throws {
        let f = try await Fixture()
        try await f.put("a/b/c", "x")
        for path in ["a", "a/b", "a/b/c/d", "a/b/c/d/e"] {
            let error = await #expect(throws: KeelError.self) { try await f.put(path, "y") }
            #expect(error?.code == .invalidArgument)
        }
        let folder = await #expect(throws: KeelError.self) { try await f.tracking.openArtifact(path: "a/b", f.read) }
        #expect(folder?.message == "Artifact path refers to a directory, not a file: 'a/b'")
        let nothing = await #expect(throws: KeelError.self) { try await f.tracking.openArtifact(path: "a/x", f.read) }
        #expect(nothing?.code == .notFound && nothing?.message == "No such artifact: 'a/x'")
        #expect(try await f.names("a/b/c") == [])
        #expect(try await f.names("nowhere") == [])
    }

    @Test("removing a folder leaves its neighbours whose names begin alike")
    func neighbours() async throws {
        let f = try await Fixture()
        for path in ["run/x", "run/deep/y", "run0/x", "run-1/x", "run", "runs/x"].filter({ $0 != "run" }) { try await f.put(path, path) }
        try await f.tracking.deleteArtifact(path: "run", f.write)
        #expect(try await f.names("") == ["run-1/", "run0/", "runs/"])
        try await f.tracking.deleteArtifact(path: "nowhere", f.write)
        await #expect(throws: KeelError.self) { try await f.tracking.deleteArtifact(path: "", f.write) }
    }

    @Test("a list reads its folder only, by an index")
    func indexed() async throws {
        let f = try await Fixture()
        for i in 0..<300 { try await f.put("big/\(i / 100)/file-\(i)", "same") }
        #expect(try await f.names("big") == ["0/", "1/", "2/"])
        #expect(try await f.names("big/2").count == 100)
        let plan = try await f.database.read { db in
            try db.rows(
                "EXPLAIN QUERY PLAN SELECT name, digest, bytes FROM tracking_artifacts WHERE folder = ? ORDER BY name", [.string("big")]
            )
            .map { $0.text("detail") }
        }
        #expect(plan.count == 1 && plan[0].contains("USING INDEX") && plan[0].contains("folder=?"))
    }
}

@Suite("Uploads in parts")
struct UploadTests {
    private func part(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(number), count: 1000 * number) }

    private func send(_ f: Fixture, _ upload: ArtifactUpload, _ number: Int) async throws -> (number: Int, digest: String) {
        let grant = try await f.tracking.grant(upload: upload.id, part: number, signature: upload.signature(part: number))
        return (number, try await f.tracking.putPart(upload: upload.id, part: number, parts: stream(part(number)), grant).digest.hex)
    }

    @Test("parts in any order and twice become one artifact, once")
    func completed() async throws {
        let f = try await Fixture()
        let upload = try await f.tracking.beginUpload(path: "r/big", parts: 3, f.write)
        var sent: [(number: Int, digest: String)] = []
        for number in [3, 1, 2] { sent.append(try await send(f, upload, number)) }
        _ = try await send(f, upload, 2)
        #expect(try await f.names("r") == [])
        // Nothing of an upload under way is collected, and another service on the same home goes on with it.
        #expect(try await f.sweep() == Collected())
        try await f.tracking.sweepUploads(f.write)
        let again = TrackingService(database: f.database, objects: try FolderObjectStore(root: f.objects.root))
        let named = sent
        await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { try await again.completeUpload(id: upload.id, path: "r/big", parts: named, f.write) } }
        }
        try await again.completeUpload(id: upload.id, path: "r/big", parts: named, f.write)
        let digest = try await f.tracking.openArtifact(path: "r/big", f.read).digest
        #expect(digest == Digest(of: part(1) + part(2) + part(3)))
        #expect(try await f.objects.uploads() == [])
        #expect(try await f.kinds().filter { $0 == "artifact.stored" }.count == 1)
        await #expect(throws: KeelError.self) { _ = try await send(f, upload, 1) }
        #expect(try await f.objects.uploads() == [])
    }

    @Test("completing names what is missing, foreign or another")
    func refused() async throws {
        let f = try await Fixture()
        let upload = try await f.tracking.beginUpload(path: "r/big", parts: 2, f.write)
        let first = try await send(f, upload, 1)
        func complete(_ parts: [(number: Int, digest: String)], path: String = "r/big") async throws -> String {
            do { try await f.tracking.completeUpload(id: upload.id, path: path, parts: parts, f.write) } catch let error as KeelError {
                return error.message
            }
            return "completed"
        }
        #expect(try await complete([first]) == "part 2 has not arrived")
        let second = try await send(f, upload, 2)
        #expect(try await complete([first]) == "part 2 is not named")
        #expect(try await complete([first, second, (3, first.digest)]) == "the upload has 2 parts, no part 3")
        #expect(try await complete([first, first, second]) == "a part is named twice")
        #expect(try await complete([first, (2, first.digest)]).hasPrefix("part 2 is another one"))
        #expect(try await complete([first, second], path: "r/other").hasPrefix("there is no upload"))
        #expect(try await f.names("r") == [])
        #expect(try await complete([first, second]) == "completed")
    }

    @Test("a part's address is for that part of that upload, until its time is over or it is aborted")
    func addresses() async throws {
        let f = try await Fixture()
        let (upload, other) = (
            try await f.tracking.beginUpload(path: "a", parts: 2, f.write), try await f.tracking.beginUpload(path: "b", parts: 2, f.write)
        )
        func code(_ id: String, _ part: Int, _ signature: String) async throws -> KeelError.Code? {
            do { _ = try await f.tracking.grant(upload: id, part: part, signature: signature) } catch let error as KeelError {
                return error.code
            }
            return nil
        }
        let signature = upload.signature(part: 1)
        #expect(try await code(upload.id, 1, signature) == nil)
        #expect(try await code(upload.id, 2, signature) == .unauthenticated)
        #expect(try await code(other.id, 1, signature) == .unauthenticated)
        #expect(try await code(upload.id, 1, "") == .unauthenticated)
        #expect(try await code(upload.id, 1, signature + "0") == .unauthenticated)
        #expect(try await code(upload.id, 3, upload.signature(part: 3)) == .unauthenticated)
        _ = try await send(f, upload, 1)
        _ = try await f.database.write { tx in try tx.execute("UPDATE tracking_uploads SET expires_ms = 1 WHERE id = ?", [.string(upload.id)]) }
        #expect(try await code(upload.id, 1, signature) == .unauthenticated, "the time is part of what is signed")
        try await f.tracking.sweepUploads(f.write)
        #expect(try await code(upload.id, 1, signature) == .unauthenticated)
        #expect(try await f.objects.uploads() == [])
        _ = try await send(f, other, 1)
        try await f.tracking.abortUpload(id: other.id, path: "b", f.write)
        #expect(try await f.objects.uploads() == [])
        #expect(try await code(other.id, 1, other.signature(part: 1)) == .unauthenticated)
        #expect(try await f.kinds().contains("artifact.upload.expired"))
        await #expect(throws: KeelError.self) { try await f.tracking.abortUpload(id: other.id, path: "b", f.write) }
    }

    @Test("limits", arguments: [0, -1, 10_001])
    func limits(parts: Int) async throws {
        let f = try await Fixture()
        await #expect(throws: KeelError.self) { try await f.tracking.beginUpload(path: "a", parts: parts, f.write) }
        let small = TrackingService(database: f.database, objects: f.objects, artifactBytesMax: 2500)
        let upload = try await small.beginUpload(path: "a", parts: 2, f.write)
        _ = try await small.putPart(upload: upload.id, part: 2, parts: stream(part(2)), f.write)
        let error = await #expect(throws: KeelError.self) {
            try await small.putPart(upload: upload.id, part: 1, parts: stream(part(1)), f.write)
        }
        #expect(error?.code == .payloadTooLarge)
    }
}

import Contracts
import Foundation
import Storage
import Testing

private func stream(_ parts: [[UInt8]], failing: (any Error)? = nil) -> AsyncThrowingStream<[UInt8], any Error> {
    AsyncThrowingStream { source in
        for part in parts { source.yield(part) }
        source.finish(throwing: failing)
    }
}

private func files(_ store: FolderObjectStore, _ folder: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: store.root + "/" + folder).filter { !$0.hasSuffix("/") }.filter { name in
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: "\(store.root)/\(folder)/\(name)", isDirectory: &isFolder) && !isFolder.boolValue
    }
}

private func read(_ reader: ObjectReader, _ range: Range<Int64>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    let count = try bytes.withUnsafeMutableBytes { try reader.read(at: range.lowerBound, into: $0) }
    return Array(bytes.prefix(count))
}

private let anySize = try! ContentSize(max: 1 << 30)

@Suite("Objects")
struct ObjectStoreTests {
    @Test(
        "what is no file under an object's name is refused at once, and makes way when the content is stored again",
        arguments: Intruder.allCases)
    func intruders(_ intruder: Intruder) async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let digest = try await store.put(Array("hello".utf8))
        let path = store.path(of: digest)
        for isFolder in [false, true] {
            let place = isFolder ? String(path.dropLast(65)) : path
            try FileManager.default.removeItem(atPath: place)
            if isFolder, intruder == .folder { continue }
            try intruder.make(place)
            let read = await #expect(throws: KeelError.self) { try await store.get(digest) }
            let opened = await #expect(throws: KeelError.self) { _ = try await store.open(digest) }
            #expect(isFolder || read?.code == .corrupted && opened?.code == .corrupted)
            #expect(try await store.digests().count == (isFolder ? 0 : 1))
            #expect(try await store.put(Array("hello".utf8)) == digest)
            #expect(try await store.get(digest) == Array("hello".utf8))
        }
    }

    @Test("content is named by its digest, and altered content is refused")
    func content() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let digest = try await store.put(Array("hello".utf8))
        #expect(try await store.get(digest) == Array("hello".utf8))
        try Data("hellO".utf8).write(to: URL(fileURLWithPath: store.path(of: digest)))
        await #expect(throws: KeelError.self) { try await store.get(digest) }
        await #expect(throws: KeelError.self) { try await store.open(digest) }
        // Stored again, it is whole again.
        #expect(try await store.put(Array("hello".utf8)) == digest)
        #expect(try await store.get(digest) == Array("hello".utf8))
    }

    @Test("D10: altered content is not opened, and found when all is read")
    func altered() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let digest = try await store.put(Array("hello".utf8))
        let other = try await store.put(Array("other".utf8))
        #expect(try read(try await store.open(digest), 0..<5) == Array("hello".utf8))
        try Data("hellO".utf8).write(to: URL(fileURLWithPath: store.path(of: digest)))
        let error = await #expect(throws: KeelError.self) { try await store.open(digest) }
        #expect(error?.code == .corrupted && error?.message.contains(digest.hex) == true)
        #expect(Set(try await store.digests()) == [digest, other])
        await #expect(throws: KeelError.self) { try await store.verify(digest) }
        try await store.verify(other)
    }

    @Test("D14: many who open one object at the same time wait for one reading of it")
    func together() async throws {
        let folder = try temporaryFolder()
        let digest = try await FolderObjectStore(root: folder).put([UInt8](repeating: 7, count: 32 << 20))
        let store = try FolderObjectStore(root: folder)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 { group.addTask { _ = try await store.open(digest) } }
            try await group.waitForAll()
        }
        #expect(store.verified.readCount.load(ordering: .relaxed) == 1)
    }

    @Test("content in any parts is the same object, kept once, and read from anywhere")
    func streamed() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let whole = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var objects: Set<StoredObject> = []
        for size in [1, 7_000, 65_536, 1_048_576, 3_000_000] {
            let count = size == 1 ? 2000 : whole.count
            let parts = stride(from: 0, to: count, by: size).map { Array(whole[$0..<min($0 + size, count)]) }
            let object = try await store.put(parts: stream(parts), size: anySize)
            #expect(object == StoredObject(digest: Digest(of: whole[..<count]), bytes: Int64(count)))
            objects.insert(object)
        }
        #expect(objects.count == 2)
        #expect(try files(store, "content").count == 2 && files(store, "tmp").isEmpty)
        let reader = try await store.open(Digest(of: whole))
        #expect(reader.bytes == 3_000_000)
        #expect(try read(reader, 1_234_567..<1_234_600) == Array(whole[1_234_567..<1_234_600]))
        #expect(try read(reader, 2_999_990..<3_000_100) == Array(whole[2_999_990...]))
        #expect(try read(reader, 4_000_000..<4_000_001).isEmpty)
        await #expect(throws: KeelError.self) { try await store.open(Digest(of: "nothing")) }
    }

    @Test("content that breaks off, is too large, or is not as long as announced leaves nothing")
    func refused() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let parts = [[UInt8]](repeating: [UInt8](repeating: 7, count: 100_000), count: 30)
        await #expect(throws: CancellationError.self) {
            try await store.put(parts: stream(parts, failing: CancellationError()), size: anySize)
        }
        let large = await #expect(throws: KeelError.self) { try await store.put(parts: stream(parts), size: ContentSize(max: 2_999_999)) }
        #expect(large?.code == .payloadTooLarge)
        #expect(throws: KeelError.self) { try ContentSize(declared: 11, max: 10) }
        for declared: Int64 in [2_999_999, 3_000_001] {
            let error = await #expect(throws: KeelError.self) {
                try await store.put(parts: stream(parts), size: ContentSize(declared: declared, max: 1 << 30))
            }
            #expect(error?.code == .invalidArgument)
        }
        #expect(try files(store, "tmp").isEmpty && files(store, "content").isEmpty)
    }

    @Test("what a crash left half-written goes at the next start")
    func leftovers() throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        try Data("half".utf8).write(to: URL(fileURLWithPath: store.root + "/tmp/abc"))
        let again = try FolderObjectStore(root: store.root)
        #expect(try files(again, "tmp").isEmpty)
    }

    @Test("an upload's parts come in any order, are sent again, outlive a restart, and join to one object")
    func uploads() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let parts = (0..<5).map { i in [UInt8](repeating: UInt8(i), count: 700_000 + i) }
        for number in [3, 1, 5, 2, 4, 3] {
            let stored = try await store.putPart(upload: "u", number: number, parts: stream([parts[number - 1]]), size: anySize)
            #expect(stored.digest == Digest(of: parts[number - 1]))
        }
        let again = try FolderObjectStore(root: store.root)
        #expect(try await again.uploads() == ["u"])
        let whole = try await again.join(upload: "u", parts: parts.enumerated().map { ($0.offset + 1, Digest(of: $0.element)) })
        #expect(whole.digest == Digest(of: parts.joined()) && whole.bytes == 3_500_010)
        try await again.removeUpload("u")
        #expect(try await again.uploads().isEmpty)
        #expect(try await again.get(whole.digest) == Array(parts.joined()))
    }

    @Test("a collection removes what nobody needs, and nothing that is on its way to a reference")
    func collection() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        func put(_ text: String) async throws -> Digest { try await store.put(parts: stream([Array(text.utf8)]), size: anySize).digest }
        let (needed, also, held, garbage) = (
            try await put("needed"), try await put("also"), try await put("held"), try await put("garbage")
        )
        for digest in [needed, also, garbage] { store.settle(digest) }
        func collect(dryRun: Bool, meanwhile: @escaping @Sendable () async throws -> Void = {}) async throws -> Collected {
            try await store.collect(dryRun: dryRun) {
                try await meanwhile()
                return [needed]
            } alsoNeeded: { prefix in
                also.hex.hasPrefix(prefix) ? [also] : []
            }
        }
        #expect(try await collect(dryRun: true) == Collected(objects: 1, bytes: 7))
        // What is stored while it runs, and settled before it comes by, had no reference when the references were read.
        let late = Digest(of: "late")
        let during = try await collect(dryRun: false) {
            _ = try await store.put(parts: stream([Array("late".utf8)]), size: anySize)
            _ = try await store.put(parts: stream([Array("garbage".utf8)]), size: anySize)
            store.settle(late)
            store.settle(garbage)
        }
        #expect(during == Collected())
        #expect(try await collect(dryRun: false) == Collected(objects: 2, bytes: 11))
        for digest in [needed, also, held] { _ = try await store.open(digest) }
        store.settle(held)
        #expect(try await collect(dryRun: false) == Collected(objects: 1, bytes: 4))
        await #expect(throws: KeelError.self) { try await store.open(held) }
    }

    @Test("one collection at a time; what is being read stays readable")
    func collectedWhileRead() async throws {
        let store = try FolderObjectStore(root: temporaryFolder())
        let object = try await store.put(parts: stream([Array("bytes".utf8)]), size: anySize)
        store.settle(object.digest)
        let reader = try await store.open(object.digest)
        let collected = try await store.collect(dryRun: false) {
            await #expect(throws: KeelError.self) {
                try await store.collect(dryRun: true) {
                    []
                } alsoNeeded: { _ in
                    []
                }
            }
            return []
        } alsoNeeded: { _ in
            []
        }
        #expect(collected.objects == 1)
        #expect(try read(reader, 0..<5) == Array("bytes".utf8))
    }

    @Test("files of an older version become content, whenever the adoption was interrupted")
    func adoption() async throws {
        struct Interrupted: Error {}
        let store = try FolderObjectStore(root: temporaryFolder())
        let top = store.root + "/artifacts/1/run"
        try FileManager.default.createDirectory(atPath: top + "/deep", withIntermediateDirectories: true)
        for name in ["a", "b", "deep/c"] { try Data("same".utf8).write(to: URL(fileURLWithPath: "\(top)/\(name)")) }
        var referred: [String: StoredObject] = [:]
        await #expect(throws: Interrupted.self) {
            _ = try await store.adoptFiles(below: "artifacts") { path, object in
                guard referred.isEmpty else { throw Interrupted() }
                referred[path] = object
            }
        }
        #expect(try await store.adoptFiles(below: "artifacts") { referred[$0] = $1 } == 2)
        #expect(referred.keys.sorted() == ["1/run/a", "1/run/b", "1/run/deep/c"])
        #expect(Set(referred.values) == [StoredObject(digest: Digest(of: "same"), bytes: 4)])
        #expect(!FileManager.default.fileExists(atPath: store.root + "/artifacts"))
        #expect(try await store.adoptFiles(below: "artifacts") { _, _ in } == 0)
    }
}

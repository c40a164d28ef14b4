import Contracts
import Foundation
import Testing

@Suite("Files that appear whole or not at all") struct AtomicFileTests {
    private func folder() throws -> String {
        let path = NSTemporaryDirectory() + "keel-atomic-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    @Test("a file is there under its name when it is committed, and not before")
    func commit() throws {
        let folder = try folder()
        let file = try AtomicFile(path: folder + "/below/name", temporaryFolder: folder)
        try file.write(Array("some ".utf8))
        try file.write(Array("bytes".utf8))
        #expect(file.size == 10 && !FileManager.default.fileExists(atPath: folder + "/below/name"))
        try file.commit()
        #expect(FileManager.default.contents(atPath: folder + "/below/name") == Data("some bytes".utf8))
        // After that it is out of the writer's hands.
        file.discard()
        #expect(throws: KeelError.self) { try file.write([1]) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["below"])
    }

    @Test("what is discarded or forgotten leaves nothing, and neither does what cannot be renamed")
    func nothing() throws {
        let folder = try folder()
        var file: AtomicFile? = try AtomicFile(path: folder + "/name", temporaryFolder: folder)
        try file?.write([1])
        file = nil
        let discarded = try AtomicFile(path: folder + "/name", temporaryFolder: folder)
        discarded.discard()
        discarded.discard()
        try FileManager.default.createDirectory(atPath: folder + "/name/inside", withIntermediateDirectories: true)
        let unnamed = try AtomicFile(path: folder + "/name", temporaryFolder: folder)
        #expect(throws: KeelError.self) { try unnamed.commit() }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["name"])
    }

    @Test("parts that several threads write are whole, each after another")
    func threads() async throws {
        let folder = try folder()
        let file = try AtomicFile(path: folder + "/name", temporaryFolder: folder)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in UInt8(0)..<8 {
                group.addTask {
                    for _ in 0..<200 { try file.write([UInt8](repeating: writer, count: 100)) }
                }
            }
            try await group.waitForAll()
        }
        #expect(file.size == 160_000)
        try file.commit()
        let content = [UInt8](try #require(FileManager.default.contents(atPath: folder + "/name")))
        let parts = stride(from: 0, to: content.count, by: 100).map { Set(content[$0..<$0 + 100]) }
        #expect(parts.count == 1600 && parts.allSatisfy { $0.count == 1 })
        #expect(Set(parts).count == 8)
    }
}

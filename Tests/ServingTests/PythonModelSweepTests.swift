import Contracts
import Foundation
import Serving
import Storage
import Testing
import Workers

@Suite("Folders of models that bring code") struct PythonModelSweepTests {
    private func bundle(_ texts: [String: String], in objects: FolderObjectStore) async throws -> ModelBundle {
        var files: [ModelBundle.File] = []
        for (path, text) in texts { files.append(.init(path: path, digest: try await objects.put(Array(text.utf8)), bytes: text.utf8.count)) }
        return ModelBundle(flavor: .python, files: files, main: "MLmodel", signature: Home.signature("x"))
    }

    @Test("what a release has is kept with its environment; the rest goes when nobody took it up for an hour")
    func sweep() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keel-sweep-\(UUID().uuidString)").path
        let objects = try FolderObjectStore(root: folder + "/objects")
        let released = try await bundle(["MLmodel": "a", "requirements.txt": "numpy==1.0"], in: objects)
        let tried = try await bundle(["MLmodel": "b", "requirements.txt": "numpy==2.0"], in: objects)
        let isolation = IsolationChoice { ProgramIsolation.none.seeing(.only) }
        let environments = PythonEnvironments(folder: folder + "/python/environments", isolation: isolation)
        var names: [String] = []
        for bundle in [released, tried] {
            let files = Dictionary(bundle.files.map { ($0.path, $0.digest) }) { $1 }
            var contents: [Digest: [UInt8]] = [:]
            for digest in files.values { contents[digest] = try await objects.get(digest) }
            let read = contents
            let made = try MaterialisedFolder.make(files, in: folder + "/python/models") { digest, part in try part(read[digest] ?? []) }
            names.append(try await environments.name(ofModel: made.path))
            try FileManager.default.createDirectory(
                atPath: "\(folder)/python/environments/\(names.last ?? "")/bin", withIntermediateDirectories: true)
        }
        func left() throws -> [Int] {
            try ["models", "environments"].map { try FileManager.default.contentsOfDirectory(atPath: "\(folder)/python/\($0)").count { !$0.hasSuffix(".lock") } }
        }
        let loader = ModelLoader(objects: objects, python: PythonModels(folder: folder + "/python", isolation: isolation, settings: .init()))
        let digest = try await objects.put(released.json.canonical)
        let now = Timestamp.systemNow()
        let later = Timestamp(microseconds: now.microseconds + TimeSpan.hours(2).microseconds)
        #expect(names.count == 2 && names[0] != names[1])
        #expect(try await loader.sweep(keeping: [], at: now, dryRun: false) == 0)
        #expect(try await loader.sweep(keeping: [digest], at: later, dryRun: true) == 2)
        #expect(try left() == [2, 2])
        #expect(try await loader.sweep(keeping: [digest], at: later, dryRun: false) == 2)
        #expect(try left() == [1, 1])
        #expect(FileManager.default.fileExists(atPath: "\(folder)/python/environments/\(names[0])"))
        #expect(try await loader.sweep(keeping: [digest], at: later, dryRun: false) == 0)
        #expect(try await loader.sweep(keeping: [], at: later, dryRun: false) == 2)
        #expect(try left() == [0, 0])
    }

    @Test("the logs of workers that were stopped go when an hour has passed")
    func logs() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keel-sweep-\(UUID().uuidString)").path
        let objects = try FolderObjectStore(root: folder + "/objects")
        let isolation = IsolationChoice { ProgramIsolation.none.seeing(.only) }
        let loader = ModelLoader(objects: objects, python: PythonModels(folder: folder + "/python", isolation: isolation, settings: .init()))
        // As a pool leaves it.
        let pool = folder + "/python/pools/" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: pool, withIntermediateDirectories: true)
        try Data("worker 1: hello".utf8).write(to: URL(fileURLWithPath: pool + "/log"))
        let now = Timestamp.systemNow()
        let later = Timestamp(microseconds: now.microseconds + TimeSpan.hours(2).microseconds)
        #expect(try await loader.sweep(keeping: [], at: now, dryRun: false) == 0)
        #expect(try await loader.sweep(keeping: [], at: later, dryRun: true) == 1)
        #expect(FileManager.default.fileExists(atPath: pool + "/log"))
        #expect(try await loader.sweep(keeping: [], at: later, dryRun: false) == 1)
        #expect(!FileManager.default.fileExists(atPath: pool))
    }
}

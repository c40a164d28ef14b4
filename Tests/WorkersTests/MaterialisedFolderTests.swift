import Contracts
import Foundation
import Synchronization
import Testing
import Workers

@Suite("Folders made from digests")
struct MaterialisedFolderTests {
    private func mode(_ path: String) -> Int? { (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int }

    @Test("a folder holds the files that were asked for, read-only, and is found again")
    func makes() throws {
        let root = try temporaryFolder() + "/models"
        let files = ["MLmodel": "flavors", "data/model.pkl": "bytes", "data/deep/er/x": ""]
        let folder = try model(files, in: root)
        for (path, text) in files {
            #expect(FileManager.default.contents(atPath: "\(folder.path)/\(path)") == Data(text.utf8))
            #expect(mode("\(folder.path)/\(path)") == 0o444)
        }
        #expect(mode(folder.path) == 0o555 && mode(folder.path + "/data/deep") == 0o555)
        #expect(try model(files, in: root) == folder)
        #expect(try model(["MLmodel": "other"], in: root) != folder)
        #expect(try FileManager.default.contentsOfDirectory(atPath: root).count == 2)
    }

    @Test("a sweep removes what is not kept and was not taken up lately, and what was never finished")
    func sweeps() throws {
        let root = try temporaryFolder() + "/models"
        let files = ["a/b": "kept", "c": "too"].mapValues { Digest(of: $0) }
        let kept = (try model(["a/b": "kept", "c": "too"], in: root).path as NSString).lastPathComponent
        #expect(MaterialisedFolder.name(of: files) == kept)
        let other = try model(["x/y": "other"], in: root)
        let unfinished = root + "/0123.tmp"
        try write("half", to: unfinished + "/x/y")
        let names = { try Set(FileManager.default.contentsOfDirectory(atPath: root)) }
        let (before, after) = (Timestamp(microseconds: 0), Timestamp(microseconds: .max))
        // All of it is new.
        #expect(MaterialisedFolder.sweep(root, keeping: [kept], before: before) == 0)
        let all = try names()
        #expect(all.count == 3 && MaterialisedFolder.sweep(root, keeping: [kept], before: after, dryRun: true) == 2)
        #expect(try names() == all)
        // What is found again is new again.
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1000)], ofItemAtPath: other.path)
        #expect(MaterialisedFolder.sweep(root, keeping: [kept], before: Timestamp(microseconds: 2_000_000_000), dryRun: true) == 1)
        #expect(try model(["x/y": "other"], in: root) == other)
        #expect(MaterialisedFolder.sweep(root, keeping: [kept], before: Timestamp(microseconds: 2_000_000_000)) == 0)
        #expect(MaterialisedFolder.sweep(root, keeping: [kept], before: after) == 2)
        #expect(try names() == [kept])
        #expect(MaterialisedFolder.sweep(root + "/none", keeping: [], before: after) == 0)
    }

    @Test("bytes that are not those of the digest are never put in place, and a folder that was changed is made anew")
    func corrupted() throws {
        let root = try temporaryFolder()
        let error = #expect(throws: KeelError.self) {
            try MaterialisedFolder.make(["a": Digest(of: "right")], in: root) { _, part in try part(Array("wrong".utf8)) }
        }
        #expect(error?.code == .corrupted)
        #expect(try FileManager.default.contentsOfDirectory(atPath: root) == [])
        #expect(throws: KeelError.self) {
            try MaterialisedFolder.make(["a": Digest(of: "x")], in: root) { _, _ in throw KeelError.notFound("no such object") }
        }
        let folder = try model(["a/b": "right"], in: root)
        let changes: [() throws -> Void] = [
            { try write("wrong", to: folder.path + "/a/b") }, { try write("more", to: folder.path + "/a/c") },
            { symlink("/etc", folder.path + "/link") }, { try FileManager.default.removeItem(atPath: folder.path + "/a/b") },
            {
                try FileManager.default.removeItem(atPath: folder.path + "/a/b")
                mkfifo(folder.path + "/a/b", 0o600)
            },
        ]
        for change in changes {
            for path in [folder.path, folder.path + "/a", folder.path + "/a/b"] { chmod(path, 0o755) }
            try change()
            #expect(try model(["a/b": "right"], in: root) == folder)
            #expect(try FileManager.default.subpathsOfDirectory(atPath: folder.path).sorted() == ["a", "a/b"])
            #expect(FileManager.default.contents(atPath: folder.path + "/a/b") == Data("right".utf8))
        }
    }

    @Test(
        "a path that could lead out of the folder is refused before anything is written",
        arguments: [
            "../x", "a/../../x", "/etc/x", "a//b", ".", "..", "", "a/", "a/./b", "a\0b", "a\nb", String(repeating: "x", count: 300),
        ])
    func paths(path: String) throws {
        let root = try temporaryFolder()
        let error = #expect(throws: KeelError.self) { try model([path: "x", "b": "y"], in: root) }
        #expect(error?.code == .invalidArgument)
        #expect(try FileManager.default.contentsOfDirectory(atPath: root) == [])
    }

    @Test("a path that is a file and a folder is an error")
    func twice() throws {
        let root = try temporaryFolder()
        #expect(throws: KeelError.self) { try model(["a": "x", "a/b": "y"], in: root) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: root) == [])
    }

    @Test("many that make the same folder at one time make one")
    func together() async throws {
        let root = try temporaryFolder()
        let files = Dictionary(uniqueKeysWithValues: (0..<50).map { ("d\($0 % 7)/f\($0)", "text \($0)") })
        let made = try await withThrowingTaskGroup(of: MaterialisedFolder.self) { group in
            for _ in 0..<8 { group.addTask { try await Blocking.runAlone { try model(files, in: root) } } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(made.count == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: root).count == 1)
        #expect(try model(files, in: root) == made.first)
    }
}

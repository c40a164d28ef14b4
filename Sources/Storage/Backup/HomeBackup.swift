import Contracts
import Foundation

/// A copy of a home folder as it was at one instant, taken while the server runs.
///
/// The database is copied first to last page in one transaction. All other files either never change under their name (content, Parquet, keys) or only
/// grow at the end (logs); they are linked into a folder of the backup, before the database is copied and once more afterwards, so that everything the
/// copy refers to is there, whatever the server removes meanwhile. Logs reach at least to the instant of the copy.
public struct HomeBackup: Sendable {
    private let home: String
    private let folder: String
    private let database: String

    static let databaseName = "keel.sqlite"
    /// The last file of an archive: a line of JSON for each of the others, with its size and its digest.
    static let manifestName = "manifest.jsonl"
    /// What is made anew, or belongs to the process.
    private static let left: Set<String> = [
        "keel.lock", "work", "backups", "features", "objects/tmp", "predictions/ring", databaseName, databaseName + "-wal",
        databaseName + "-shm",
    ]
    private static let blockBytes = 1 << 20

    /// - Parameter folder: an empty folder for what the backup needs, on the file system of the home.
    public init(home: String, folder: String, copyDatabase: (_ path: String) async throws -> Void) async throws {
        self.home = home
        self.folder = folder + "/files"
        database = folder + "/" + HomeBackup.databaseName
        try Folder.make(self.folder)
        try await Blocking.run { [self] in try link() }
        try await copyDatabase(database)
        try await Blocking.run { [self] in try link() }
    }

    private func link() throws {
        guard let names = FileManager.default.enumerator(atPath: home) else { return }
        while let name = names.nextObject() as? String {
            if HomeBackup.left.contains(name) {
                names.skipDescendants()
                continue
            }
            var status = stat()
            guard lstat("\(home)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG, !name.hasSuffix(AtomicFile.temporarySuffix)
            else { continue }
            let target = "\(folder)/\(name)"
            try FileManager.default.createDirectory(atPath: Folder.parent(of: target), withIntermediateDirectories: true)
            // ENOENT: it was removed since it was listed, so that nothing needs it.
            guard Glibc.link("\(home)/\(name)", target) == 0 || [EEXIST, ENOENT].contains(errno) else {
                throw AtomicFile.failure("link \(name) into the backup")
            }
        }
    }

    /// Hands the archive on in parts, then removes the folder.
    public func write(_ send: (_ part: [UInt8]) async throws -> Void) async throws {
        defer { try? FileManager.default.removeItem(atPath: Folder.parent(of: folder)) }
        let manifest = try AtomicFile(path: folder + "/" + HomeBackup.manifestName, temporaryFolder: folder)
        try await add(HomeBackup.databaseName, database, manifest, send)
        let files = try await Blocking.run { [folder] in
            try FileManager.default.subpathsOfDirectory(atPath: folder).sorted().filter { path in
                var status = stat()
                return stat("\(folder)/\(path)", &status) == 0 && status.st_mode & S_IFMT == S_IFREG
                    && !path.hasSuffix(AtomicFile.temporarySuffix)
            }
        }
        for path in files { try await add(path, "\(folder)/\(path)", manifest, send) }
        try await Blocking.run { try manifest.commit() }
        try await add(HomeBackup.manifestName, folder + "/" + HomeBackup.manifestName, nil, send)
        try await send(Tar.end)
    }

    private func add(_ path: String, _ file: String, _ manifest: AtomicFile?, _ send: ([UInt8]) async throws -> Void) async throws {
        let reader = try ObjectReader(path: file, name: path)
        let entry = Tar.Entry(path: path, bytes: reader.bytes)
        try await send(try Tar.head(entry))
        var hasher = Digest.Hasher()
        var offset: Int64 = 0
        while offset < entry.bytes {
            let begin = offset
            let part = try await Blocking.run {
                var part = [UInt8](repeating: 0, count: Int(min(Int64(HomeBackup.blockBytes), entry.bytes - begin)))
                let count = try part.withUnsafeMutableBytes { try reader.read(at: begin, into: $0) }
                // A log from which a push was taken back since: zeros at its end are a torn end.
                return count == 0 ? part : Array(part[..<count])
            }
            hasher.update(part)
            offset += Int64(part.count)
            try await send(part)
        }
        try await send([UInt8](repeating: 0, count: entry.padding))
        let line: JSON = ["path": .string(path), "bytes": .int(entry.bytes), "digest": .string(hasher.finish().hex)]
        if let manifest { try await Blocking.run { try manifest.write(line.bytes + [10]) } }
    }
}

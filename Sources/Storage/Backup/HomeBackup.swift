import Contracts
import Foundation

/// The files that a database refers to, as paths below the home folder.
public struct StoredReferences: Sendable {
    public var files: Set<String>
    /// Folders whose files the database knows all of; each ends in `/`.
    public var folders: [String]

    public init(files: Set<String> = [], folders: [String] = []) {
        self.files = files
        self.folders = folders
    }

    /// Finds what a database refers to.
    /// - Parameter home: the folder below which its files lie.
    public typealias Finder = @Sendable (_ database: Database, _ home: String) async throws -> StoredReferences
}

/// A copy of a home folder as it was at one instant, taken while the server runs.
///
/// The database is copied first to last page in one transaction. All other files either never change under their name (content, Parquet, keys) or only
/// grow at the end (logs); they are linked into a folder of the backup, before the database is copied and once more afterwards, so that everything the
/// copy refers to is there, whatever the server removes meanwhile. Logs reach at least to the instant of the copy. Folders may lie behind symbolic links;
/// files on another disk are copied instead of linked.
public struct HomeBackup: Sendable {
    private let folder: String
    private let database: String
    /// Files that the database refers to and that the home itself lacks.
    public let missing: [String]

    static let databaseName = "keel.sqlite"
    /// The last file of an archive: a line of JSON for each of the others, with its size and its digest.
    static let manifestName = "manifest.jsonl"
    /// What is made anew, or belongs to the process.
    private static let left: Set<String> = [
        "keel.lock", "work", "backups", "features", "objects/tmp", "predictions/ring", databaseName, databaseName + "-wal",
        databaseName + "-shm",
    ]
    private static let blockBytes = 1 << 20
    /// Folders that may be symbolic links, or hold some. Links elsewhere are not the server's.
    private static let linked: Set<Substring> = ["lake", "streams", "objects", "predictions", "checkpoints"]
    private static let depthMax = 32

    /// - Parameters:
    ///   - folder: an empty folder for what the backup needs, on the file system of the home.
    ///   - references: what the database refers to. Each of these files is in the backup, or in `missing`.
    public init(
        home: String, folder: String, copyDatabase: (_ path: String) async throws -> Void,
        references: @escaping StoredReferences.Finder = { _, _ in StoredReferences() }
    ) async throws {
        let files = folder + "/files"
        self.folder = files
        database = folder + "/" + HomeBackup.databaseName
        try Folder.make(files)
        try await Blocking.run { try HomeBackup.link(home, into: files) }
        try await copyDatabase(database)
        try await Blocking.run { try HomeBackup.link(home, into: files) }
        let copy = try Database(path: database)
        let found = try await references(copy, files)
        try await copy.close()
        missing = try await Blocking.run { try HomeBackup.compare(found, files, home) }
    }

    /// Removes files that came after the copy of the database, from folders of which it knows every file.
    /// - Returns: what the database refers to and is not there.
    /// - Throws: `unavailable` when such a file is in the home, and so should be in the backup.
    private static func compare(_ references: StoredReferences, _ folder: String, _ home: String) throws -> [String] {
        for path in try FileManager.default.subpathsOfDirectory(atPath: folder)
        where references.folders.contains(where: { path.hasPrefix($0) }) && !references.files.contains(path) && isFile("\(folder)/\(path)")
        {
            unlink("\(folder)/\(path)")
        }
        let missing = references.files.filter { !isFile("\(folder)/\($0)") }.sorted()
        if let left = missing.first(where: { isFile("\(home)/\($0)") }) {
            throw KeelError(
                .unavailable, "the backup would lack the file '\(left)', which the database refers to: no backup was made",
                hint: "make the backup again; if it fails again, is '\(left)' behind a link that the server does not follow?")
        }
        return missing
    }

    static func isFile(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    private static func link(_ home: String, into folder: String, below name: String = "", depth: Int = 0) throws {
        guard depth < depthMax else {
            throw KeelError(.failedPrecondition, "the folders at '\(name)' never end", hint: "is a link in them a loop?")
        }
        let entries: [String]
        do { entries = try Folder.names("\(home)/\(name)") } catch {
            // It was removed since it was listed. What is damaged need not be readable.
            if error.code == .notFound || name.hasPrefix("damaged/") { return }
            throw error
        }
        for entry in entries {
            let path = name + entry
            if left.contains(path) { continue }
            var status = stat()
            guard lstat("\(home)/\(path)", &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFREG where !path.hasSuffix(AtomicFile.temporarySuffix): try take(path, status, from: home, into: folder)
            case S_IFDIR: try link(home, into: folder, below: path + "/", depth: depth + 1)
            case S_IFLNK where linked.contains(path.prefix { $0 != "/" }) && Folder.exists("\(home)/\(path)"):
                try link(home, into: folder, below: path + "/", depth: depth + 1)
            default: continue
            }
        }
    }

    /// Links a file into the backup, or copies it when it lies on another disk. One that was copied before and has grown is copied again.
    private static func take(_ path: String, _ status: stat, from home: String, into folder: String) throws {
        let target = "\(folder)/\(path)"
        try FileManager.default.createDirectory(atPath: Folder.parent(of: target), withIntermediateDirectories: true)
        if Glibc.link("\(home)/\(path)", target) == 0 { return }
        switch errno {
        // It was removed since it was listed, so that nothing needs it.
        case ENOENT: return
        case EEXIST:
            var taken = stat()
            guard lstat(target, &taken) == 0, taken.st_ino != status.st_ino || taken.st_dev != status.st_dev,
                taken.st_size != status.st_size
            else { return }
        case EXDEV, EPERM, EMLINK: break
        default: throw AtomicFile.failure("link \(path) into the backup")
        }
        let source: ObjectReader
        do { source = try ObjectReader(path: "\(home)/\(path)", name: path) } catch let error as KeelError where error.code == .notFound {
            return
        }
        let temporary = target + AtomicFile.temporarySuffix
        let copy = try StoredFile.open(temporary, name: "the copy of \(path)", O_WRONLY | O_CREAT | O_TRUNC)
        defer { close(copy) }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 16)
        defer { block.deallocate() }
        var offset: Int64 = 0
        while true {
            let count = try source.read(at: offset, into: block)
            guard count > 0 else { break }
            try AtomicFile.writeAll(copy, UnsafeRawBufferPointer(rebasing: block[..<count]))
            offset += Int64(count)
        }
        guard rename(temporary, target) == 0 else { throw AtomicFile.failure("copy \(path) into the backup") }
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
        let gone = missing.map { path -> [UInt8] in
            let line: JSON = ["missing": .string(path)]
            return line.bytes + [10]
        }
        try await Blocking.run {
            for line in gone { try manifest.write(line) }
            try manifest.commit()
        }
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

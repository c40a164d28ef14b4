import Contracts
import Foundation

/// Uploads in parts. A part's file carries its digest: sent again with other content it is another file, so what was acknowledged never changes.
extension FolderObjectStore {
    private func folder(_ upload: String) -> String { "\(root)/uploads/\(upload)" }
    private func path(_ upload: String, _ number: Int, _ digest: Digest) -> String { "\(folder(upload))/\(number)-\(digest.hex)" }

    public func putPart<Part: Collection<UInt8> & Sendable>(
        upload: String, number: Int, parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws -> StoredObject {
        let intake = try await receive(parts, size: size)
        return try await Blocking.run {
            let object = intake.finish()
            try intake.file.commit(as: path(upload, number, object.digest))
            return object
        }
    }

    public func join(upload: String, parts: [(number: Int, digest: Digest)]) async throws -> StoredObject {
        try await Blocking.run {
            let intake = try Intake(folder: root + "/tmp")
            for part in parts {
                try intake.take(
                    file: ObjectReader(path: path(upload, part.number, part.digest), name: "part \(part.number) of upload \(upload)"))
            }
            return try keep(intake)
        }
    }

    public func removeUpload(_ upload: String) async throws {
        try await Blocking.run {
            if FileManager.default.fileExists(atPath: folder(upload)) { try FileManager.default.removeItem(atPath: folder(upload)) }
        }
    }

    public func uploads() async throws -> [String] {
        try await Blocking.run { try Folder.names(root + "/uploads") }
    }
}

extension Intake {
    /// Takes all of a file.
    func take(file: ObjectReader) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Intake.batchBytes, alignment: 16)
        defer { buffer.deallocate() }
        var offset: Int64 = 0
        while true {
            let count = try file.read(at: offset, into: buffer)
            if count == 0 { return }
            try take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += Int64(count)
        }
    }
}

import Contracts
import Foundation

extension FolderObjectStore {
    /// The digests of all content that is stored, in no order.
    public func digests() async throws -> [Digest] {
        try await Blocking.run {
            try FileManager.default.contentsOfDirectory(atPath: root + "/content").flatMap { folder in
                try FileManager.default.contentsOfDirectory(atPath: "\(root)/content/\(folder)").compactMap { Digest(hex: $0) }
            }
        }
    }

    /// Reads content through, whether or not it was checked before.
    /// - Throws: `corrupted` when it is not what was stored, `notFound` when it was collected meanwhile.
    public func verify(_ digest: Digest) async throws {
        try await Blocking.run { try verified.check(path(of: digest), is: digest, name: "object \(digest)", again: true) }
    }
}

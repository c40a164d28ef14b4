import Contracts
import Foundation

extension FolderObjectStore {
    /// The digests of all content that is stored, in no order.
    public func digests() async throws -> [Digest] {
        try await Blocking.run {
            try contentFolders().flatMap { folder in
                try Folder.names("\(root)/content/\(folder)").compactMap { Digest(hex: $0) }
            }
        }
    }

    /// The names of the folders below `content`; anything else there is none of the store's.
    func contentFolders() throws -> [String] {
        try Folder.names(root + "/content").filter { $0.utf8.count == 2 && Folder.exists("\(root)/content/\($0)") }
    }

    /// Reads content through, whether or not it was checked before.
    /// - Throws: `corrupted` when it is not what was stored, `notFound` when it was collected meanwhile.
    public func verify(_ digest: Digest) async throws {
        try await verified.check(path(of: digest), is: digest, name: "object \(digest)", again: true)
    }
}

import Contracts
import Foundation

extension FolderObjectStore {
    /// Brings files that an older version kept under their own names into content: each is copied under its digest, then `refer` must make its path
    /// refer to that durably, and only then its old name goes. Interrupted at any point, the next start goes on.
    public func adoptFiles(below folder: String, refer: (_ path: String, StoredObject) async throws -> Void) async throws -> Int {
        let top = "\(root)/\(folder)"
        guard FileManager.default.fileExists(atPath: top) else { return 0 }
        let paths = try await Blocking.run { try FolderObjectStore.files(below: top) }
        for path in paths {
            let object = try await Blocking.run { try adopt("\(top)/\(path)") }
            try await refer(path, object)
            settle(object.digest)
            unlink("\(top)/\(path)")
        }
        try FileManager.default.removeItem(atPath: top)
        return paths.count
    }

    private func adopt(_ file: String) throws -> StoredObject {
        let intake = try Intake(folder: root + "/tmp")
        try intake.take(file: ObjectReader(path: file, name: "file \(file)"))
        return try keep(intake)
    }

    private static func files(below top: String) throws -> [String] {
        var out: [String] = []
        for path in try FileManager.default.subpathsOfDirectory(atPath: top) {
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: "\(top)/\(path)", isDirectory: &isFolder), !isFolder.boolValue { out.append(path) }
        }
        return out
    }
}

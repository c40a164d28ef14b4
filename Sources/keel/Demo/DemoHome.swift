import Contracts
import Foundation
import Storage

/// The folder that a demo's server keeps everything in.
struct DemoHome {
    let path: String
    /// Whether it goes when the demo ends.
    let isTemporary: Bool
    /// Says that a folder is a demo's, which the next one may empty.
    private static let mark = "demo"

    /// Makes a folder of its own, or takes the one that was named: a new or empty one, or an earlier demo's, which is emptied.
    /// - Throws: `failedPrecondition` for a folder that holds something else, or that a server uses.
    init(named: String?) throws {
        guard let named else {
            path = FileManager.default.temporaryDirectory.appendingPathComponent("keel-demo-\(Identifier.hex32().prefix(12))").path
            isTemporary = true
            try Folder.make(path)
            return
        }
        path = URL(fileURLWithPath: named).path
        isTemporary = false
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        guard names.isEmpty || names.contains(DemoHome.mark) else {
            throw KeelError(.failedPrecondition, "the folder '\(named)' holds something that is no demo's", hint: "name a new folder with --home")
        }
        // The lock of a server that runs there refuses this.
        let lock = try Home(path, user: "keel demo")
        for name in names { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
        try Data().write(to: URL(fileURLWithPath: "\(path)/\(DemoHome.mark)"))
        withExtendedLifetime(lock) {}
    }

    func remove() { if isTemporary { try? FileManager.default.removeItem(atPath: path) } }
}

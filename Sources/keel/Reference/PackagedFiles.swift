import Engines
import Foundation

/// Files that come along with the command: with an installation, or in the checkout around the command or the working directory.
enum PackagedFiles {
    /// - Parameters:
    ///   - installed: where an installation has it.
    ///   - checkout: where a checkout has it, below its root.
    /// - Returns: nil where it is not.
    static func find(installed: String, checkout: String) -> String? {
        if let installation = Installation.process { return installation.path(installed) }
        let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
        for start in [executable, FileManager.default.currentDirectoryPath] {
            var folder = URL(fileURLWithPath: start)
            while folder.path != "/" {
                let path = folder.appendingPathComponent(checkout).path
                if FileManager.default.fileExists(atPath: path) { return path }
                folder.deleteLastPathComponent()
            }
        }
        return nil
    }
}

import Contracts
import Foundation

/// The stylesheet, modules and foreign libraries of the pages, served under a folder whose name is the digest of all of them, so that browsers
/// may keep them for good. Modules find each other by relative addresses.
struct ConsoleAssets: Sendable {
    struct File: Sendable {
        let bytes: [UInt8]
        let type: String
    }
    /// By name: `console.css`, `vendor/htmx/htmx.min.js`.
    let files: [String: File]
    let digest: String

    /// Keel's own files in `Assets/`.
    static let own: [(name: String, bytes: [UInt8])] = [
        ("console.css", PackageResources.console_css),
        ("icon.svg", PackageResources.icon_svg),
        ("theme.js", PackageResources.theme_js),
        ("live.js", PackageResources.live_js),
        ("search.js", PackageResources.search_js),
        ("table.js", PackageResources.table_js),
        ("charts.js", PackageResources.charts_js),
        ("drawings.js", PackageResources.drawings_js),
        ("address.js", PackageResources.address_js),
        ("save.js", PackageResources.save_js),
        ("sign-in.js", PackageResources.sign_in_js),
    ]

    /// - Parameter vendor: the folder of the libraries that `scripts/bootstrap` fetched; nil when there is none. Pages work without them, but for
    ///   charts and what moves by itself.
    init(vendor: String?) {
        var found: [String: File] = [:]
        for (name, bytes) in ConsoleAssets.own { found[name] = File(bytes: bytes, type: ConsoleAssets.type(of: name)) }
        for name in vendor.map(ConsoleAssets.names) ?? [] {
            guard let vendor, let data = FileManager.default.contents(atPath: vendor + "/" + name) else { continue }
            found["vendor/" + name] = File(bytes: Array(data), type: ConsoleAssets.type(of: name))
        }
        files = found
        var hasher = Digest.Hasher()
        for (name, file) in found.sorted(by: { $0.key < $1.key }) {
            hasher.update("\(name)\n\(file.bytes.count)\n")
            hasher.update(file.bytes)
        }
        digest = String(hasher.finish().hex.prefix(16))
    }

    private static func names(in folder: String) -> [String] {
        (FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] ?? []).filter {
            $0.hasSuffix(".js") || $0.hasSuffix(".css")
        }.sorted()
    }

    static let prefix = "/console/assets"

    /// The address of a file; nil when there is none of this name.
    func address(_ name: String) -> String? { files[name] == nil ? nil : "\(ConsoleAssets.prefix)/\(digest)/\(name)" }

    /// The address of the first file whose name begins and ends so.
    func address(in folder: String, ending: String) -> String? {
        files.keys.filter { $0.hasPrefix(folder) && $0.hasSuffix(ending) }.min().flatMap(address)
    }

    private static func type(of name: String) -> String {
        switch name.split(separator: ".").last {
        case "css": "text/css; charset=utf-8"
        case "js", "mjs": "text/javascript; charset=utf-8"
        case "svg": "image/svg+xml"
        default: "application/octet-stream"
        }
    }
}

/// Where the libraries of the pages (htmx, ECharts) are: the environment variable; what came with the installation; `.keel/console` of the working
/// directory or a folder above it, then of the executable's folder or one above.
public enum ConsoleVendor {
    public static let environmentVariable = "KEEL_CONSOLE"
    /// Their folder; nil when they are not installed.
    public static func folder(environment: [String: String], workingDirectory: String, executable: String, installation: String?) -> String?
    {
        if let named = environment[environmentVariable], !named.isEmpty { return isFolder(named) ? named : nil }
        if let installation, isFolder(installation + "/native/console") { return installation + "/native/console" }
        for start in [workingDirectory, (executable as NSString).deletingLastPathComponent] {
            var folder = start
            while true {
                let path = (folder == "/" ? "" : folder) + "/.keel/console"
                if isFolder(path) { return path }
                guard folder != "/", !folder.isEmpty else { break }
                folder = (folder as NSString).deletingLastPathComponent
            }
        }
        return nil
    }

    private static func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }
}

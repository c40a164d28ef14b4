import Contracts
import Storage

/// `models:/name@alias`, `models:/name/3` or `models:/name/latest`, taken apart.
public struct ModelURI: Sendable, Hashable {
    public enum Target: Sendable, Hashable {
        case alias(String)
        case version(Int)
        case latest
    }
    public let name: String
    public let target: Target

    public init?(_ uri: String) {
        guard uri.hasPrefix("models:/") else { return nil }
        let rest = uri.dropFirst("models:/".count)
        if let at = rest.lastIndex(of: "@"), !rest.contains("/") {
            (name, target) = (String(rest[..<at]), .alias(String(rest[rest.index(after: at)...])))
        } else if let slash = rest.lastIndex(of: "/") {
            let word = rest[rest.index(after: slash)...]
            name = String(rest[..<slash])
            if word.lowercased() == "latest" {
                target = .latest
            } else if let number = Int(word), number > 0 {
                target = .version(number)
            } else {
                return nil
            }
        } else {
            return nil
        }
        guard !name.isEmpty, !name.contains("/") else { return nil }
    }

    func resolve(on db: some Querying) throws -> ModelVersion? {
        switch target {
        case .version(let number): return try RegistryStore.findVersion(db, name, number)
        case .alias(let alias):
            guard let number = try RegistryStore.alias(db, name, alias) else { return nil }
            return try RegistryStore.findVersion(db, name, number)
        case .latest:
            let sql = "SELECT max(version) AS version FROM registry_versions WHERE workspace = ? AND name = ?"
            let last = try db.row(sql, [db.inWorkspace, .string(name)])?.optionalInt("version")
            return try last.flatMap { try RegistryStore.findVersion(db, name, Int($0)) }
        }
    }
}

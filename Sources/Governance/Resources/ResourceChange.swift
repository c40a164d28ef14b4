import Contracts

/// One field that differs between two declarations of a resource.
public struct FieldDifference: Sendable, Hashable {
    /// Where, from inside the spec: `rollout.canary.shares`, `columns[distance].range`; outside the spec `metadata.owner`, `metadata.labels.team`.
    public let path: String
    /// Nil when the field was not there.
    public let old: JSON?
    /// Nil when the field is gone.
    public let new: JSON?

    public init(path: String, old: JSON?, new: JSON?) { (self.path, self.old, self.new) = (path, old, new) }

    public var json: JSON { ["path": .string(path), "old": old ?? .null, "new": new ?? .null] }
}

/// What applying one resource does.
public struct ResourceChange: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable { case new, changed, unchanged }

    /// `Kind/name`.
    public let id: String
    public let environment: String?
    public let kind: Kind
    /// Empty for a new resource, which differs in everything, and for an unchanged one.
    public let differences: [FieldDifference]
    /// The resource's own revision after the change; 1 for a new one.
    public let revision: Int64
    /// The digest of the declaration after the change.
    public let digest: Digest
    /// What the change does to data that is there, a sentence each.
    public var effects: [String] = []

    public var json: JSON {
        var out: JSON = ["id": .string(id)]
        if let environment { out["environment"] = .string(environment) }
        out["change"] = .string(kind.rawValue)
        out["revision"] = .int(revision)
        out["digest"] = .string(digest.hex)
        out["differences"] = .array(differences.map(\.json))
        if !effects.isEmpty { out["effects"] = .array(effects.map(JSON.string)) }
        return out
    }
}

/// Compares declarations field by field. Two declarations have no differences exactly when their digests are equal.
public enum ResourceDifference {
    public static func between(_ old: Resource, _ new: Resource) -> [FieldDifference] {
        guard old.digest != new.digest else { return [] }
        var out: [FieldDifference] = []
        compare(old.json["metadata"], new.json["metadata"], "metadata", &out)
        compare(old.spec, new.spec, "", &out)
        return out
    }

    private static func compare(_ old: JSON?, _ new: JSON?, _ path: String, _ out: inout [FieldDifference]) {
        if let old, let new {
            if old.canonical == new.canonical { return }
            if let a = old.members, let b = new.members, !a.isEmpty, !b.isEmpty {
                let place = { (key: String) in path.isEmpty ? key : "\(path).\(key)" }
                for member in a { compare(member.value, new[member.key], place(member.key), &out) }
                for member in b where old[member.key] == nil { compare(nil, member.value, place(member.key), &out) }
                return
            }
            if let a = old.array, let b = new.array, let before = named(a), let after = named(b) {
                return compareNamed(before, after, path, &out)
            }
        }
        out.append(FieldDifference(path: path.isEmpty ? "spec" : path, old: old, new: new))
    }

    /// Lists of named things (columns, features, steps) are compared by name, so that inserting one does not make all that follow differ.
    private static func compareNamed(_ old: [(String, JSON)], _ new: [(String, JSON)], _ path: String, _ out: inout [FieldDifference]) {
        let place = { (name: String) in "\(path)[\(name)]" }
        let (before, after) = (
            Dictionary(old, uniquingKeysWith: { first, _ in first }), Dictionary(new, uniquingKeysWith: { first, _ in first })
        )
        for (name, item) in old { compare(item, after[name], place(name), &out) }
        for (name, item) in new where before[name] == nil { compare(nil, item, place(name), &out) }
        let order = (old.map(\.0), new.map(\.0))
        if order.0.filter({ after[$0] != nil }) != order.1.filter({ before[$0] != nil }) {
            out.append(
                FieldDifference(path: "\(path) (order)", old: .array(order.0.map(JSON.string)), new: .array(order.1.map(JSON.string))))
        }
    }

    /// The items by their `name`, or nil unless all are objects with different names.
    private static func named(_ items: [JSON]) -> [(String, JSON)]? {
        var (out, seen): ([(String, JSON)], Set<String>) = ([], [])
        for item in items {
            guard let name = item["name"]?.string, seen.insert(name).inserted else { return nil }
            out.append((name, item))
        }
        return out.isEmpty ? nil : out
    }
}

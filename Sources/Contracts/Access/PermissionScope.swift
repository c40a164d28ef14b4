/// To which things a permission extends. Every part that is given must hold.
public struct PermissionScope: Sendable, Hashable {
    /// Only what lives in one of these environments; nil for everything.
    public var environments: Set<EnvironmentName>?
    /// Only things of these kinds: `Endpoint`, `Model`.
    public var kinds: Set<String>?
    /// Only things whose name one of these patterns matches.
    public var names: [NamePattern]?
    /// Only these, which labels selected when the permission was looked up.
    public var resources: Set<ResourceRef>?

    public init(
        environments: Set<EnvironmentName>? = nil, kinds: Set<String>? = nil, names: [NamePattern]? = nil, resources: Set<ResourceRef>? = nil
    ) {
        self.environments = environments
        self.kinds = kinds
        self.names = names
        self.resources = resources
    }

    /// The whole workspace.
    public static let everything = PermissionScope()
    public var isEverything: Bool { self == .everything }

    public func covers(_ subject: ResourceRef) -> Bool {
        if let environments {
            guard let environment = subject.environment, environments.contains(environment) else { return false }
        }
        if let kinds, !kinds.contains(subject.kind) { return false }
        if let names, !names.contains(where: { $0.matches(subject.name) }) { return false }
        if let resources, !resources.contains(subject) { return false }
        return true
    }
}

/// A pattern of names in which `*` stands for any characters, none included. It is matched in time that grows with the product of the lengths at most.
public struct NamePattern: Sendable, Hashable, CustomStringConvertible {
    private let parts: [Substring]
    public let description: String

    /// - Throws: `invalidArgument` for an empty pattern and for one that no name can match.
    public init(_ text: String, path: String) throws(KeelError) {
        guard !text.isEmpty, text.utf8.count <= 256 else {
            throw .invalid("'\(text.prefix(80))' is not a pattern of names", hint: "write a name, with '*' for any characters", path: path)
        }
        description = text
        parts = text.split(separator: "*", omittingEmptySubsequences: false)
    }

    public func matches(_ name: String) -> Bool {
        guard let first = parts.first, let last = parts.last else { return false }
        if parts.count == 1 { return name == description }
        guard name.utf8.count >= first.utf8.count + last.utf8.count, name.hasPrefix(first), name.hasSuffix(last) else { return false }
        // The leftmost place of each part in between leaves the most for those behind it.
        var rest = name.utf8.dropFirst(first.utf8.count).dropLast(last.utf8.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let end = NamePattern.end(of: part.utf8, in: rest) else { return false }
            rest = rest[end...]
        }
        return true
    }

    private static func end(of part: Substring.UTF8View, in text: Substring.UTF8View) -> String.Index? {
        var start = text.startIndex
        while true {
            let candidate = text[start...]
            if candidate.starts(with: part) { return text.index(start, offsetBy: part.count) }
            guard start != text.endIndex else { return nil }
            start = text.index(after: start)
        }
    }
}

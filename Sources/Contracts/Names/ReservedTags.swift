/// Tags that begin with `keel.` are Keel's own: they say what it recorded, so no client may set or remove one.
public enum ReservedTags {
    public static let prefix = "keel."

    public static func isReserved(_ key: String) -> Bool { key.hasPrefix(prefix) }

    /// What a tag of a foreign store is called here.
    public static func renamed(_ key: String) -> String { isReserved(key) ? "imported." + key : key }

    public static func check(_ key: String) throws(KeelError) {
        guard isReserved(key) else { return }
        throw .invalid(
            "Invalid value '\(key.prefix(300))' for parameter 'key' supplied: tags that begin with '\(prefix)' are written by Keel alone.",
            hint: "choose another name", path: "key")
    }
}

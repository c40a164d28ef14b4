import Contracts

/// What one call of an import may carry. Larger imports are made of many calls.
public enum ImportLimits {
    public static let thingsMax = 1000
    public static let pointsMax = 20_000
    public static let sourceBytesMax = 1000

    /// - Parameters:
    ///   - source: the name of the store that the things come from.
    ///   - count: how many things the call carries.
    public static func check(source: String, count: Int, atMost limit: Int = thingsMax) throws(KeelError) {
        guard (1...sourceBytesMax).contains(source.utf8.count) else {
            throw .invalid("must be 1 to \(sourceBytesMax) bytes", path: "source")
        }
        guard count <= limit else { throw .invalid("at most \(limit) things go into one call, not \(count)") }
    }
}

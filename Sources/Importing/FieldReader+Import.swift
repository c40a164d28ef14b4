import Contracts

extension FieldReader {
    /// Milliseconds since 1970 as an instant; nil when absent or null.
    public func optionalMilliseconds(_ name: String) throws(KeelError) -> Timestamp? {
        guard let value = try optionalInt(name) else { return nil }
        guard let time = Timestamp(given: Int64(value)) else { throw failure(name, "is no instant: milliseconds since 1970 are expected") }
        return time
    }
    public func milliseconds(_ name: String) throws(KeelError) -> Timestamp {
        guard let time = try optionalMilliseconds(name) else { throw failure(name, "'\(name)' is missing") }
        return time
    }
    /// A text that names a thing of a foreign store and becomes part of paths: 1–64 letters, digits, `-` and `_`.
    public func identifier(_ name: String) throws(KeelError) -> String {
        let text = try string(name)
        func allowed(_ b: UInt8) -> Bool { (b >= 48 && b <= 57) || (b >= 65 && b <= 90) || (b >= 97 && b <= 122) || b == 45 || b == 95 }
        guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy(allowed) else {
            throw failure(name, "'\(text.prefix(80))' is no id: 1 to 64 letters, digits, '-' and '_' are expected")
        }
        return text
    }
}

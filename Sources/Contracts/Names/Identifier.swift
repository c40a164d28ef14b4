import Synchronization

/// Makes ids: those of rows sort by time (UUIDv7, RFC 9562), so that what is made together lies together in an index.
public enum Identifier {
    private static let seed = UInt64.random(in: .min ... .max)
    private static let counter = Atomic<UInt64>(0)

    /// 36 characters, lower case: `0190a1b2-…`.
    ///
    /// The random bits are two different mixes of a counter with one random seed of the process, so that no system call is on the request path:
    /// unique, not secret.
    public static func uuid(at time: Timestamp = .systemNow()) -> String {
        let next = counter.add(1, ordering: .relaxed).oldValue
        return text(high(at: time, StableHash.mix(seed &+ next)), low(StableHash.mix(~seed ^ next)), dashes: true)
    }

    /// The same in 32 characters, without dashes, as MLflow's run ids are; random, for what outlives the process.
    ///
    /// Pages of runs are read by their newest: with ids that sort by time they are neighbours in every table that is keyed by the run.
    public static func ordered32(at time: Timestamp = .systemNow()) -> String {
        text(high(at: time, .random(in: .min ... .max)), low(.random(in: .min ... .max)), dashes: false)
    }

    private static func high(at time: Timestamp, _ bits: UInt64) -> UInt64 {
        UInt64(bitPattern: time.milliseconds) << 16 | 0x7000 | (bits & 0x0fff)
    }

    private static func low(_ bits: UInt64) -> UInt64 { (bits & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000 }

    private static func text(_ high: UInt64, _ low: UInt64, dashes: Bool) -> String {
        let length = dashes ? 36 : 32
        return String(unsafeUninitializedCapacity: length) { out in
            var at = 0
            for i in 0..<32 {
                if dashes, i == 8 || i == 12 || i == 16 || i == 20 {
                    out[at] = UInt8(ascii: "-")
                    at += 1
                }
                let digit = UInt8(truncatingIfNeeded: (i < 16 ? high : low) >> UInt64(60 - (i & 15) * 4)) & 15
                out[at] = digit < 10 ? 48 + digit : 87 + digit
                at += 1
            }
            return length
        }
    }

    /// 32 random hexadecimal characters: nobody can guess them.
    public static func hex32() -> String {
        let (a, b) = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
        return hexText(withUnsafeBytes(of: (a, b)) { Array($0) })
    }

    /// Names of resources: 1–128 of `a–z A–Z 0–9 _ - .`, beginning with a letter or digit; so that a name is always safe in a path and a URL.
    public static func check(name: String, path: String = "metadata.name") throws(KeelError) {
        let bytes = Array(name.utf8)
        func alphanumeric(_ b: UInt8) -> Bool { (b >= 48 && b <= 57) || (b >= 65 && b <= 90) || (b >= 97 && b <= 122) }
        guard let first = bytes.first, bytes.count <= 128, alphanumeric(first),
            bytes.allSatisfy({ alphanumeric($0) || $0 == 95 || $0 == 45 || $0 == 46 })
        else {
            throw .invalid(
                "'\(name.prefix(140))' is not a valid name",
                hint: "use 1 to 128 letters, digits, '_', '-' or '.', beginning with a letter or digit", path: path)
        }
    }
}

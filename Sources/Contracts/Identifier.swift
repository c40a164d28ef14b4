/// Makes ids that sort by time: UUIDv7 (RFC 9562) from the clock and two random words.
public enum Identifier {
    /// 36 characters, lower case: `0190a1b2-…`.
    public static func uuid(at time: Timestamp = .systemNow()) -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        let ms = UInt64(bitPattern: time.milliseconds)
        for i in 0..<6 { bytes[i] = UInt8(truncatingIfNeeded: ms >> UInt64(40 - 8 * i)) }
        let (a, b) = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
        bytes[6] = 0x70 | UInt8(truncatingIfNeeded: a & 15)
        bytes[7] = UInt8(truncatingIfNeeded: a >> 8)
        for i in 0..<8 { bytes[8 + i] = UInt8(truncatingIfNeeded: b >> UInt64(8 * i)) }
        bytes[8] = 0x80 | (bytes[8] & 0x3f)
        let hex = hexText(bytes)
        var out = ""
        for (i, c) in hex.enumerated() {
            if i == 8 || i == 12 || i == 16 || i == 20 { out.append("-") }
            out.append(c)
        }
        return out
    }

    /// 32 random hexadecimal characters, as MLflow's run ids are.
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

import Glibc

/// Texts in the order of their UTF-8 bytes, which is that of their Unicode scalars and of databases.
/// - Returns: a negative number when `a` comes first, 0 when the two are the same, else a positive number.
public func byteOrder(_ a: String, _ b: String) -> Int {
    var (a, b) = (a, b)
    return a.withUTF8 { left in
        b.withUTF8 { right in
            let common = min(left.count, right.count)
            if common > 0, let x = left.baseAddress, let y = right.baseAddress {
                let result = memcmp(x, y, common)
                if result != 0 { return Int(result) }
            }
            return left.count - right.count
        }
    }
}

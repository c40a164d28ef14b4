import Crypto

/// HMAC-SHA256: proves that a message comes from whoever holds the key.
public enum MessageCode {
    /// 64 lower-case hexadecimal characters.
    public static func hex(of message: String, key: String) -> String {
        hexText(HMAC<SHA256>.authenticationCode(for: Array(message.utf8), using: SymmetricKey(data: Array(key.utf8))))
    }

    /// Whether `code` is the message's, in a time that does not tell where they differ.
    public static func isValid(_ code: String, of message: String, key: String) -> Bool {
        let (a, b) = (Array(code.utf8), Array(hex(of: message, key: key).utf8))
        return a.count == b.count && zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

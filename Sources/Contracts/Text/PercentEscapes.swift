/// Percent escapes resolved; what is no escape stays as it is.
public func percentDecoded(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String {
    let bytes = Array(text.utf8)
    func nibble(_ i: Int) -> UInt8? {
        guard i < bytes.count else { return nil }
        return Character(UnicodeScalar(bytes[i])).hexDigitValue.map(UInt8.init)
    }
    var (out, i): ([UInt8], Int) = ([], 0)
    while i < bytes.count {
        if bytes[i] == UInt8(ascii: "%"), let high = nibble(i + 1), let low = nibble(i + 2) {
            out.append(high << 4 | low)
            i += 3
        } else {
            out.append(plusIsSpace && bytes[i] == UInt8(ascii: "+") ? 32 : bytes[i])
            i += 1
        }
    }
    return String(decoding: out, as: UTF8.self)
}

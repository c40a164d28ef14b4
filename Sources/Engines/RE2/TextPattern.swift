import CRE2
import Contracts

/// A regular expression in RE2's syntax (https://github.com/google/re2/wiki/Syntax), which is DuckDB's too: matched in time linear in the text, so
/// without look-around and references back. It is compiled under limits, and long texts are not matched (docs/decisions/0016).
///
/// `@unchecked Sendable`: the compiled pattern is never changed, and RE2 allows matching from several threads at once.
public final class TextPattern: @unchecked Sendable {
    public static let bytesMax = 1000
    public static let nestingMax = 50
    /// Longer texts are not matched: they are refused.
    public static let textBytesMax = 65_536
    /// RE2's instructions, what a byte of text can cost: repetitions such as `(a{1000}){10}` are written out.
    private static let sizeMax: Int32 = 5000
    private static let memoryMax: Int64 = 4 << 20

    public let text: String
    private let compiled: OpaquePointer

    /// - Throws: `invalidArgument` that says what is wrong with the pattern.
    public init(_ text: String) throws(KeelError) {
        guard text.utf8.count <= TextPattern.bytesMax else {
            throw .invalid("the pattern has \(text.utf8.count) bytes; at most \(TextPattern.bytesMax) are allowed")
        }
        guard TextPattern.nesting(of: text) <= TextPattern.nestingMax else {
            throw .invalid("the pattern is nested more than \(TextPattern.nestingMax) deep")
        }
        var pattern = text
        var message = [CChar](repeating: 0, count: 200)
        let made = pattern.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                keel_re2_compile($0.baseAddress, $0.count, TextPattern.memoryMax, &message, message.count)
            }
        }
        guard let made else {
            let problem = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw .invalid(
                "'\(text.prefix(100))' is not a regular expression: \(problem)",
                hint: "the syntax is RE2's: no look-around, no references back")
        }
        guard keel_re2_size(made) <= TextPattern.sizeMax else {
            keel_re2_free(made)
            throw .invalid("'\(text.prefix(100))' is too large a regular expression", hint: "repeat less: counts such as {1000} multiply")
        }
        self.text = text
        compiled = made
    }

    deinit { keel_re2_free(compiled) }

    /// Whether the whole text, UTF-8, matches; false for one of more than `textBytesMax` bytes.
    public func matches(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard text.count <= TextPattern.textBytesMax else { return false }
        return text.withMemoryRebound(to: CChar.self) { keel_re2_matches(compiled, $0.baseAddress, $0.count) == 1 }
    }

    private static func nesting(of text: String) -> Int {
        var depth = 0
        var deepest = 0
        var escaped = false
        for byte in text.utf8 {
            if escaped {
                escaped = false
            } else if byte == UInt8(ascii: "\\") {
                escaped = true
            } else if byte == UInt8(ascii: "(") || byte == UInt8(ascii: "[") {
                depth += 1
                deepest = max(deepest, depth)
            } else if byte == UInt8(ascii: ")") || byte == UInt8(ascii: "]") {
                depth -= 1
            }
        }
        return deepest
    }
}

import Configuration
import Contracts

/// Reads settings by name, each with its default from `KeelConfiguration.settings`.
struct SettingReader {
    private let reader: ConfigReader

    init(_ reader: ConfigReader) { self.reader = reader }

    private func standard(_ key: String) -> ConfigContent? { KeelConfiguration.setting(key)?.standard }

    func string(_ key: String) -> String {
        if let given = text(key) { return given }
        guard case .string(let standard) = standard(key) else { return "" }
        return standard
    }

    /// A text that is given and not empty.
    func text(_ key: String) -> String? { reader.string(forKey: ConfigKey(key)).flatMap { $0.isEmpty ? nil : $0 } }

    func strings(_ key: String) -> [String] {
        if let given = reader.stringArray(forKey: ConfigKey(key)) { return given }
        guard case .stringArray(let standard) = standard(key) else { return [] }
        return standard
    }

    func bool(_ key: String) -> Bool {
        if let given = reader.bool(forKey: ConfigKey(key)) { return given }
        return standard(key) == .bool(true)
    }

    func int(_ key: String, in range: ClosedRange<Int>) throws(KeelError) -> Int {
        var number = range.lowerBound
        if case .int(let standard) = standard(key) { number = standard }
        if let given = reader.int(forKey: ConfigKey(key)) { number = given }
        guard range.contains(number) else {
            let bounds = range.upperBound == .max ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
            throw .invalid("must be \(bounds), not \(number)", path: key)
        }
        return number
    }

    func word(_ key: String, of words: [String]) throws(KeelError) -> String {
        let given = string(key)
        guard words.contains(given) else {
            throw .invalid("'\(given.prefix(60))' is not known here", hint: "one of \(words.joined(separator: ", "))", path: key)
        }
        return given
    }
}

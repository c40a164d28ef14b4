import Contracts

/// What a column of a file looks like, and what a contract can say of it.
struct ColumnGuess {
    let name: String
    /// As a Dataset's column has it: `int64`, `float64`, `timestamp` or `string`.
    let type: String
    let isNullable: Bool
    /// How many different values there are, and how many rows.
    let distinct: Int
    let rows: Int
    /// The values, when there are few of them.
    let values: [String]?
    let isNegative: Bool

    /// Texts that mean no value, as in a Dataset.
    private static let nulls: Set<String> = ["", "NA", "NaN", "null"]
    private static let valuesMax = 8

    init(name: String, texts: [String]) {
        self.name = name
        let given = texts.filter { !ColumnGuess.nulls.contains($0) }
        isNullable = given.count < texts.count
        rows = texts.count
        let different = Set(given)
        distinct = different.count
        if given.isEmpty {
            type = "string"
        } else if given.allSatisfy({ Int64($0) != nil }) {
            type = "int64"
        } else if given.allSatisfy({ Double($0)?.isFinite == true }) {
            type = "float64"
        } else if given.allSatisfy({ Timestamp($0) != nil }) {
            type = "timestamp"
        } else {
            type = "string"
        }
        isNegative = given.contains { $0.hasPrefix("-") }
        values = distinct <= ColumnGuess.valuesMax && type != "timestamp" && type != "float64" ? different.sorted() : nil
    }

    var isNumber: Bool { type == "int64" || type == "float64" }
    var isUnique: Bool { distinct == rows && !isNullable }
    /// Whether it says yes or no.
    var isBinary: Bool { type == "int64" && values == ["0", "1"] }

    /// One line of a Dataset's columns.
    /// - Parameter isLabel: whether no other values than those that were seen may come.
    func yaml(isLabel: Bool) -> String {
        var out = "{ name: \(YAMLText.scalar(name)), type: \(type)"
        if isNullable { out += ", nullable: true" }
        if isLabel, let values { out += ", oneOf: [\(values.map { "\"\($0)\"" }.joined(separator: ", "))]" }
        if isNumber, !isNegative, !isLabel { out += ", range: [0, null]" }
        return out + " }"
    }
}

/// Texts as YAML takes them.
enum YAMLText {
    /// Plain where that cannot be read as something else, otherwise in quotes.
    static func scalar(_ text: String) -> String {
        let isPlain =
            text.first?.isLetter == true && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(text.lowercased())
        return isPlain ? text : JSON.string(text).text
    }
}

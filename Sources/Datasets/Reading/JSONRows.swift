import Contracts

/// Reads rows written as JSON objects into typed columns, without building trees.
struct JSONRows {
    private let batcher: RowBatcher
    private let columns: [FileLayout.Column]

    init(_ batcher: RowBatcher) {
        self.batcher = batcher
        columns = batcher.layout.columns
    }

    /// Consumes one object as the row under way. A column that is absent is null.
    /// - Returns: the issue of the row, if it has one; the scanner stands behind the row all the same.
    /// - Throws: when the JSON itself is malformed.
    func row(_ scanner: inout JSONScanner) throws(KeelError) -> (rule: String, message: String)? {
        var problem: (rule: String, message: String)?
        var expected = 0
        let row = batcher.rowCount
        guard try scanner.peek() == .object else {
            try scanner.skip()
            return ("a JSON object", "the row is not a JSON object")
        }
        try scanner.object { (scanner, key) throws(KeelError) in
            guard problem == nil else { return try scanner.skip() }
            var found = expected < columns.count && same(columns[expected].nameBytes, key) ? expected : -1
            if found < 0 { found = columns.firstIndex { same($0.nameBytes, key) } ?? -1 }
            guard found >= 0 else {
                if batcher.layout.ignored.contains(where: { same($0, key) }) { return try scanner.skip() }
                let name = String(decoding: key.prefix(100), as: UTF8.self)
                let hint = nearest(name, in: batcher.layout.namesInFile).map { " (did you mean '\($0)'?)" } ?? ""
                problem = ("unknown field", "the contract has no column '\(name)'\(hint)")
                return try scanner.skip()
            }
            expected = found + 1
            guard batcher.builders[found].count == row else {
                problem = ("\(columns[found].nameInFile): once", "the column '\(columns[found].nameInFile)' is there twice")
                return try scanner.skip()
            }
            problem = try value(&scanner, found)
        }
        return problem
    }

    private func value(_ scanner: inout JSONScanner, _ column: Int) throws(KeelError) -> (rule: String, message: String)? {
        let builder = batcher.builders[column]
        var issue: String?
        switch try scanner.peek() {
        case .string:
            if builder.type == .bool || builder.type.isNumeric {
                // A number in quotes is a text: JSON has types, and a client that sends the wrong one should learn it.
                issue = try scanner.stringBytes { (text) throws(KeelError) in "\(shown(text)) (a text) is not a \(builder.type)" }
            } else {
                let problem = try scanner.stringBytes { (text) throws(KeelError) -> (rule: String, message: String)? in
                    if text.count > RowBatcher.fieldBytesMax { return batcher.tooLong(column, text.count) }
                    guard let issue = builder.append(text: text) else { return nil }
                    return fault(column, issue)
                }
                return problem
            }
        case .number:
            let (number, integer) = try scanner.numberOrInteger()
            issue = builder.append(number: number, integer: integer)
        case .literal:
            if try scanner.null() { builder.appendNull() } else { issue = builder.append(bool: try scanner.bool()) }
        default:
            try scanner.skip()
            issue = "an object or list is not a \(builder.type)"
        }
        return issue.map { fault(column, $0) }
    }

    private func fault(_ column: Int, _ issue: String) -> (rule: String, message: String) {
        ("\(columns[column].name): \(batcher.builders[column].type)", "column '\(columns[column].name)': \(issue)")
    }

    private func same(_ name: [UInt8], _ key: UnsafeBufferPointer<UInt8>) -> Bool {
        guard name.count == key.count else { return false }
        for i in 0..<name.count where name[i] != key[i] { return false }
        return true
    }
}

import Contracts
import Engines

/// Checks rows against the rules of their columns: a value where one must be, range, allowed values, pattern.
/// Uniqueness of the key is `KeySet`'s.
struct RowValidator: Sendable {
    /// What is wrong with one row: the first rule it breaks, in the order of the columns.
    struct Fault {
        var rule: String
        var message: String
    }

    private struct Check: Sendable {
        var field: Field
        /// The column's place among those that are checked.
        var place: Int
        var allowedTexts: [[UInt8]]?
        var allowedSet: Set<[UInt8]>?
        var allowedNumbers: Set<Double>?
        var pattern: TextPattern?
    }

    private let checks: [Check]

    init(_ fields: [Field], at places: [Int]) {
        checks = zip(fields, places).map { field, place in
            var check = Check(field: field, place: place)
            if let words = field.oneOf {
                if field.type == .string || field.type == .bytes {
                    let texts = words.map { Array($0.utf8) }
                    if texts.count <= 24 { check.allowedTexts = texts } else { check.allowedSet = Set(texts) }
                } else if field.type.isNumeric {
                    check.allowedNumbers = Set(words.compactMap { Double($0) })
                } else {
                    check.allowedSet = Set(words.map { Array($0.utf8) })
                }
            }
            check.pattern = field.pattern.flatMap { try? TextPattern($0) }
            return check
        }
    }

    /// Puts the fault of each row that has one into `faults`, where the row has none yet.
    func check(_ columns: [Column], faults: inout [Int: Fault]) {
        for check in checks {
            let (field, column) = (check.field, columns[check.place])
            if !field.nullable, let validity = column.validity {
                for row in 0..<column.count where !validity[row] && faults[row] == nil {
                    faults[row] = Fault(rule: "\(field.name): not null", message: "column '\(field.name)': there is no value")
                }
            }
            if field.minimum != nil || field.maximum != nil || check.allowedNumbers != nil { checkNumbers(check, column, &faults) }
            if check.allowedTexts != nil || check.allowedSet != nil || check.pattern != nil { checkTexts(check, column, &faults) }
        }
    }

    private func checkNumbers(_ check: Check, _ column: Column, _ faults: inout [Int: Fault]) {
        let name = check.field.name
        let (low, high) = (check.field.minimum ?? -.infinity, check.field.maximum ?? .infinity)
        func each(_ row: Int, _ value: Double) {
            guard column.isValid(row), faults[row] == nil else { return }
            if value < low || value > high {
                let bounds = "[\(check.field.minimum.map { "\($0)" } ?? "null"), \(check.field.maximum.map { "\($0)" } ?? "null")]"
                faults[row] = Fault(
                    rule: "\(name): range \(bounds)", message: "column '\(name)': \(column[row]) is outside the range \(bounds)")
            } else if let allowed = check.allowedNumbers, !allowed.contains(value) {
                faults[row] = Fault(rule: "\(name): oneOf", message: "column '\(name)': \(column[row]) is not one of the allowed values")
            }
        }
        let always = check.allowedNumbers != nil
        switch column.buffer {
        case .int32(let values):
            for i in values.indices where always || Double(values[i]) < low || Double(values[i]) > high { each(i, Double(values[i])) }
        case .int64(let values):
            for i in values.indices where always || Double(values[i]) < low || Double(values[i]) > high { each(i, Double(values[i])) }
        case .float32(let values):
            for i in values.indices where always || Double(values[i]) < low || Double(values[i]) > high { each(i, Double(values[i])) }
        case .float64(let values): for i in values.indices where always || values[i] < low || values[i] > high { each(i, values[i]) }
        default: break
        }
    }

    private func checkTexts(_ check: Check, _ column: Column, _ faults: inout [Int: Fault]) {
        let name = check.field.name
        func refuse(_ row: Int, _ rule: String, _ problem: String) {
            let value = column[row].description
            faults[row] = Fault(rule: "\(name): \(rule)", message: "column '\(name)': '\(value.prefix(60))' \(problem)")
        }
        guard case .text(let texts) = column.buffer else {
            for row in 0..<column.count where column.isValid(row) && faults[row] == nil {
                if let set = check.allowedSet, !set.contains(Array(column[row].description.utf8)) {
                    refuse(row, "oneOf", "is not one of the allowed values")
                }
            }
            return
        }
        texts.bytes.withUnsafeBufferPointer { bytes in
            var last: Int?
            for row in 0..<texts.count where column.isValid(row) {
                let text = UnsafeBufferPointer(rebasing: bytes[texts.offsets[row]..<texts.offsets[row + 1]])
                if let allowed = check.allowedTexts {
                    // Neighbours are often equal.
                    if let last, same(allowed[last], text) { continue }
                    last = allowed.firstIndex { same($0, text) }
                    if last == nil, faults[row] == nil { refuse(row, "oneOf", "is not one of the allowed values") }
                } else if let set = check.allowedSet, !set.contains(Array(text)), faults[row] == nil {
                    refuse(row, "oneOf", "is not one of the allowed values")
                }
                if let pattern = check.pattern, faults[row] == nil, !pattern.matches(text) {
                    let long = text.count > TextPattern.textBytesMax
                    refuse(
                        row, "pattern",
                        long
                            ? "is longer than the \(TextPattern.textBytesMax) bytes that a pattern is matched against"
                            : "does not match the pattern \(pattern.text)")
                }
            }
        }
    }

    @inline(__always) private func same(_ word: [UInt8], _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard word.count == text.count else { return false }
        for i in 0..<word.count where word[i] != text[i] { return false }
        return true
    }
}

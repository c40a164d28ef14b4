import Contracts

/// Triton's classification extension: an output as the classes that have the highest values.
enum Classification {
    /// Texts `value:index`, the highest first, as many a row as asked for or as there are.
    /// - Throws: `invalidArgument` for an output that is no numbers.
    static func top(_ count: Int, of column: Column) throws(KeelError) -> Column {
        let offsets: [Int]
        let values: Column
        if case .list(let given, let elements) = column.buffer {
            offsets = given
            values = elements
        } else {
            offsets = Array(0...column.count)
            values = column
        }
        guard values.type != .bool, let numbers = values.doubles() else {
            throw .invalid("has no numbers to tell classes by", path: "parameters.classification")
        }
        let classes = (0..<column.count).map { offsets[$0 + 1] - offsets[$0] }.min() ?? 0
        let kept = min(count, classes)
        var texts = TextBuffer()
        for row in 0..<column.count {
            let range = offsets[row]..<offsets[row + 1]
            // What is no number is behind all others; of equal values the first comes first.
            let order = range.sorted { a, b in
                if numbers[a].isNaN || numbers[b].isNaN { return !numbers[a].isNaN || numbers[b].isNaN && a < b }
                return numbers[a] != numbers[b] ? numbers[a] > numbers[b] : a < b
            }
            for i in order.prefix(kept) { texts.append("\(numbers[i].decimals(6)):\(i - range.lowerBound)") }
        }
        return Column(.tensor(.string, shape: [kept]), .list(offsets: (0...column.count).map { $0 * kept }, values: Column(.string, .text(texts))))
    }
}

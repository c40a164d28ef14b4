import Contracts

/// Where a model's input takes its values from in a table.
enum ONNXFilling {
    /// One value of a column for each row.
    case scalar(Int)
    /// One value of each column for each row.
    case spread([Int])
    /// A tensor or list of a column for each row; `rowShape` is nil for lists whose length the input leaves open.
    case nested(Int, rowShape: [Int]?)

    /// Finds the columns of a model's inputs, by the rules that `ONNXModel.run` states.
    ///
    /// - Parameter spreadable: the input that may take several columns.
    /// - Throws: `invalidArgument` that names the input, and the column when there is one.
    static func find(_ inputs: [ONNXModel.Port], in table: Table, spreadable: Int?) throws(KeelError) -> [ONNXFilling] {
        let names = table.names
        let columns = table.columns
        var fillings: [ONNXFilling] = []
        fillings.reserveCapacity(inputs.count)
        var isSpread = false
        // Tables are usually written in the order of the inputs: the next column is looked at before all others.
        var next = 0
        for (i, port) in inputs.enumerated() {
            guard let element = port.element else {
                throw .invalid("input '\(port.name)' is \(port.refusal ?? "unknown"), which is not supported")
            }
            let column = next < names.count && names[next] == port.name ? next : names.firstIndex(of: port.name)
            if let column, let filling = try filling(port, element, columns[column].type, column, isSpreadable: i == spreadable) {
                fillings.append(filling)
                next = column + 1
                continue
            }
            guard i == spreadable else {
                throw .invalid(
                    "there is no column for input '\(port.name)'",
                    hint: nearest(port.name, in: names).map { "did you mean '\($0)'?" } ?? "columns: \(names.joined(separator: ", "))")
            }
            isSpread = true
            fillings.append(.spread([]))
        }
        if isSpread, let spreadable { fillings[spreadable] = .spread(try rest(table, inputs, fillings, spreadable)) }
        return fillings
    }

    /// How an input takes the column of its name; nil when it takes several columns, of which that is one.
    private static func filling(
        _ port: ONNXModel.Port, _ element: ONNXElement, _ type: DataType, _ column: Int, isSpreadable: Bool
    ) throws(KeelError) -> ONNXFilling? {
        func refuse(_ what: String) -> KeelError {
            .invalid("column '\(port.name)' is \(type); the input of that name takes \(what)", path: port.name)
        }
        let row = Array(port.shape.dropFirst())
        let isScalar = row.isEmpty || row == [1]
        switch type {
        case .tensor(let inner, let shape):
            guard !row.isEmpty, takes(element, inner) else { throw refuse(words(port, element)) }
            guard shape.count == row.count, zip(shape, row).allSatisfy({ $0 >= 0 && ($1 == -1 || $0 == $1) }) else {
                throw refuse(words(port, element))
            }
            return .nested(column, rowShape: shape)
        case .list(let inner):
            guard row.count == 1, takes(element, inner) else { throw refuse(words(port, element)) }
            return .nested(column, rowShape: row[0] == -1 ? nil : row)
        default:
            if isSpreadable, !isScalar { return nil }
            guard isScalar || row == [-1] else { throw refuse(words(port, element)) }
            guard takes(element, type) else { throw refuse(words(port, element)) }
            return .scalar(column)
        }
    }

    /// The columns that no other input takes.
    private static func rest(
        _ table: Table, _ inputs: [ONNXModel.Port], _ fillings: [ONNXFilling], _ spreadable: Int
    ) throws(KeelError) -> [Int] {
        var isTaken = [Bool](repeating: false, count: table.names.count)
        for filling in fillings {
            switch filling {
            case .scalar(let c), .nested(let c, _): isTaken[c] = true
            case .spread: break
            }
        }
        let left = isTaken.indices.filter { !isTaken[$0] }
        let port = inputs[spreadable]
        guard let element = port.element else { return [] }
        let width = port.shape[1]
        guard left.count == width || (width == -1 && !left.isEmpty) else {
            let takes = width == -1 ? "one or more" : String(width)
            throw .invalid(
                "input '\(port.name)' takes \(takes) columns, or one column of its name with \(words(port, element)); "
                    + "the table has \(left.count) for it",
                hint: "columns: \(table.names.joined(separator: ", "))")
        }
        for c in left where !takes(element, table.columns[c].type) {
            throw .invalid(
                "column '\(table.names[c])' is \(table.columns[c].type); input '\(port.name)' takes \(element.name)", path: table.names[c])
        }
        return left
    }

    /// Whether a column of this type can be converted, value by value.
    private static func takes(_ element: ONNXElement, _ type: DataType) -> Bool {
        switch type {
        case .bool, .int32, .int64, .float32, .float64: element != .string
        case .string, .bytes: element == .string
        default: false
        }
    }

    /// What an input takes for each row.
    private static func words(_ port: ONNXModel.Port, _ element: ONNXElement) -> String {
        let row = port.shape.dropFirst()
        guard !row.isEmpty, Array(row) != [1] else { return "\(element.name), one value a row" }
        return "\(element.name) of the shape [\(row.map { $0 == -1 ? "any" : String($0) }.joined(separator: ", "))] a row"
    }
}

import Contracts

/// The plan of an endpoint without a feature service: the request's columns are the model's inputs.
struct RequestPlan: FeaturePlan {
    private let inputs: [Signature.Input]
    private let names: [String]

    init(inputs: [Signature.Input]) {
        self.inputs = inputs
        names = inputs.map(\.name)
    }

    var requestFields: [Field] { inputs.map { Field($0.name, $0.type, nullable: $0.nullable) } }

    func read(_ whole: Table) throws(KeelError) -> ModelInputs {
        let request = try columns(of: whole)
        var columns: [Column] = []
        columns.reserveCapacity(inputs.count)
        var used = 0
        for (j, input) in inputs.enumerated() {
            // Callers send the columns in one order, mostly the model's.
            let inPlace = j < request.names.count && request.names[j] == input.name
            guard let column = inPlace ? request.columns[j] : request[input.name] else {
                guard input.isOptional else { throw missing(input.name, in: request) }
                columns.append(try Column(input.type, values: Array(repeating: .null, count: request.rowCount)))
                continue
            }
            used += 1
            if !input.nullable, column.nullCount > 0 {
                throw KeelError(.contractViolation, "'\(input.name)' must have a value in every row", path: input.name)
            }
            columns.append(try column.converted(to: input.type, name: input.name))
        }
        guard request.columns.count == used else {
            let stranger = request.names.first { !names.contains($0) } ?? ""
            throw KeelError(
                .contractViolation, "the model takes no column '\(stranger)'",
                hint: nearest(stranger, in: names).map { "did you mean '\($0)'?" } ?? "columns: \(names.joined(separator: ", "))",
                path: stranger)
        }
        return ModelInputs(table: Table(distinct: names, columns: columns), eventTimes: nil)
    }

    /// One tensor of as many numbers a row as the model has inputs stands for them, in their order.
    private func columns(of request: Table) throws(KeelError) -> Table {
        guard inputs.count > 1, request.columns.count == 1, case .tensor(let element, let shape) = request.columns[0].type,
            shape == [inputs.count], case .list(_, let values) = request.columns[0].buffer, request.columns[0].validity == nil
        else { return request }
        guard element.isNumeric || element == .bool else { return request }
        let columns = inputs.indices.map { j in values.taking((0..<request.rowCount).map { $0 * inputs.count + j }) }
        return Table(distinct: names, columns: columns)
    }

    private func missing(_ name: String, in request: Table) -> KeelError {
        let strangers = request.names.filter { !names.contains($0) }
        return KeelError(
            .contractViolation, "column '\(name)' is missing",
            hint: nearest(name, in: strangers).map { "is '\($0)' meant to be '\(name)'?" } ?? "columns: \(names.joined(separator: ", "))",
            path: name)
    }
}

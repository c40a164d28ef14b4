import Contracts

/// The plan of an endpoint without a feature service: the request's columns are the model's inputs.
struct RequestPlan: FeaturePlan {
    private let inputs: [Signature.Input]
    /// Of inputs with categories: the bytes of a text → its number.
    private let positions: [[String: Float]?]

    init(inputs: [Signature.Input]) {
        self.inputs = inputs
        positions = inputs.map { input in
            input.categories.map { Dictionary($0.enumerated().map { ($1, Float($0)) }, uniquingKeysWith: { first, _ in first }) }
        }
    }

    var requestFields: [Field] { inputs.map { Field($0.name, $0.type, nullable: $0.nullable) } }

    func fill(_ request: Table, into matrix: UnsafeMutableBufferPointer<Float>) throws(KeelError) -> [Timestamp]? {
        for (j, input) in inputs.enumerated() {
            // Callers send the columns in one order, mostly the model's.
            let inPlace = j < request.names.count && request.names[j] == input.name
            guard let column = inPlace ? request.columns[j] : request[input.name] else { throw missing(input.name, in: request) }
            if !input.nullable, column.nullCount > 0 {
                throw KeelError(.contractViolation, "'\(input.name)' must have a value in every row", path: input.name)
            }
            try write(column, input, positions[j], column: j, of: request.rowCount, into: matrix)
        }
        guard request.columns.count == inputs.count else {
            let names = inputs.map(\.name)
            let stranger = request.names.first { !names.contains($0) } ?? ""
            throw KeelError(
                .contractViolation, "the model takes no column '\(stranger)'",
                hint: nearest(stranger, in: names).map { "did you mean '\($0)'?" } ?? "columns: \(names.joined(separator: ", "))",
                path: stranger)
        }
        return nil
    }

    private func missing(_ name: String, in request: Table) -> KeelError {
        let known = inputs.map(\.name)
        let strangers = request.names.filter { !known.contains($0) }
        return KeelError(
            .contractViolation, "column '\(name)' is missing",
            hint: nearest(name, in: strangers).map { "is '\($0)' meant to be '\(name)'?" } ?? "columns: \(known.joined(separator: ", "))",
            path: name)
    }

    private func write(
        _ column: Column, _ input: Signature.Input, _ positions: [String: Float]?, column j: Int, of rows: Int,
        into matrix: UnsafeMutableBufferPointer<Float>
    ) throws(KeelError) {
        let width = inputs.count
        if let positions {
            guard case .text(let texts) = column.buffer else {
                throw KeelError(.contractViolation, "'\(input.name)' must be a text, not \(column.type)", path: input.name)
            }
            for i in 0..<rows { matrix[i * width + j] = column.isValid(i) ? positions[texts[i]] ?? .nan : .nan }
            return
        }
        switch column.buffer {
        case .bool(let v): for i in 0..<rows { matrix[i * width + j] = v[i] ? 1 : 0 }
        case .int32(let v): for i in 0..<rows { matrix[i * width + j] = Float(v[i]) }
        case .int64(let v): for i in 0..<rows { matrix[i * width + j] = Float(v[i]) }
        case .float32(let v): for i in 0..<rows { matrix[i * width + j] = v[i] }
        case .float64(let v): for i in 0..<rows { matrix[i * width + j] = Float(v[i]) }
        case .text, .list:
            throw KeelError(.contractViolation, "'\(input.name)' must be a number, not \(column.type)", path: input.name)
        }
        if let validity = column.validity { for i in 0..<rows where !validity[i] { matrix[i * width + j] = .nan } }
    }
}

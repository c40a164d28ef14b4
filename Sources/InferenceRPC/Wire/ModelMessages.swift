import Contracts
import InferenceAPI
import Serving

/// `ModelReadyRequest`, `ModelMetadataRequest`, `ModelConfigRequest` and `ModelStatisticsRequest`: a name and a version, both optional to the protocol.
package struct NamedModel {
    let name: String
    let version: String?

    package init(_ message: UnsafeRawBufferPointer) throws(KeelError) {
        var texts = ["", ""]
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            if field.number == 1 { texts[0] = try located("name") { () throws(KeelError) in try field.text() } }
            if field.number == 2 { texts[1] = try located("version") { () throws(KeelError) in try field.text() } }
        }
        name = String(texts[0].prefix(200))
        version = texts[1].isEmpty ? nil : texts[1]
    }
}

/// `RepositoryModelLoadRequest` and `RepositoryModelUnloadRequest`.
package struct RepositoryModel {
    let name: String
    /// The name of a parameter, if there is one.
    let parameter: String?

    package init(_ message: UnsafeRawBufferPointer) throws(KeelError) {
        var name = ""
        var parameter: String?
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            if field.number == 2 { name = try located("model_name") { () throws(KeelError) in try field.text() } }
            if field.number == 3 {
                try ProtobufReader.fields(of: try field.bytes()) { (entry) throws(KeelError) in
                    if entry.number == 1 { parameter = try entry.text() }
                }
            }
        }
        self.name = String(name.prefix(200))
        self.parameter = parameter
    }
}

/// What an endpoint takes and gives.
struct ModelDescription {
    let name: String
    let versions: [String]
    let inputs: [(name: String, type: DataType)]
    let outputs: [(name: String, type: DataType)]
    /// Rows in one request.
    let rowsMax: Int

    /// `ModelMetadataResponse`.
    func writeMetadata(to message: inout ProtobufWriter) {
        message.text(1, name)
        for version in versions { message.element(2, version) }
        message.text(3, "keel")
        for (number, tensors) in [(4, inputs), (5, outputs)] {
            for tensor in tensors {
                message.message(number) { metadata in
                    metadata.text(1, tensor.name)
                    metadata.text(2, Datatype(of: tensor.type).rawValue)
                    // The first dimension is that of the rows.
                    metadata.varints(3, ([-1] + ModelDescription.row(tensor.type)).map { UInt64(bitPattern: Int64($0)) })
                }
            }
        }
    }

    /// `ModelConfigResponse`. A model with a batch size is described without the dimension of the rows; one value a row is a reshaped 1.
    func writeConfiguration(to message: inout ProtobufWriter) {
        message.message(1) { config in
            config.text(1, name)
            config.text(2, "keel")
            config.text(17, "keel")
            config.integer(4, rowsMax)
            for (number, dims, tensors) in [(5, 4, inputs), (6, 3, outputs)] {
                for tensor in tensors {
                    config.message(number) { described in
                        let row = ModelDescription.row(tensor.type)
                        described.text(1, tensor.name)
                        described.integer(2, ModelDescription.number(of: Datatype(of: tensor.type)))
                        described.varints(dims, (row.isEmpty ? [1] : row).map { UInt64(bitPattern: Int64($0)) })
                        if row.isEmpty { described.message(5) { _ in } }
                    }
                }
            }
        }
    }

    /// The shape of one row; empty for a value.
    private static func row(_ type: DataType) -> [Int] {
        switch type {
        case .tensor(_, let shape): shape
        case .list: [-1]
        default: []
        }
    }

    /// The number in Triton's `DataType`.
    private static func number(of type: Datatype) -> Int {
        switch type {
        case .bool: 1
        case .uint8: 2
        case .uint16: 3
        case .uint32: 4
        case .uint64: 5
        case .int8: 6
        case .int16: 7
        case .int32: 8
        case .int64: 9
        case .fp16: 10
        case .fp32: 11
        case .fp64: 12
        case .bytes: 13
        case .bf16: 14
        }
    }
}

extension ReleaseStatus {
    /// `ModelStatistics`: as over REST, since this process loaded the release.
    func writeStatistics(of name: String, to message: inout ProtobufWriter) {
        message.text(1, name)
        message.text(2, modelVersion)
        message.integer(3, totals.lastAnswer.map { Int($0.milliseconds) } ?? 0)
        message.integer(4, rows)
        message.integer(5, totals.runs)
        message.message(6) { statistics in
            for (number, count, nanoseconds) in [
                (1, requests, totals.answered), (2, totals.failedRequests, totals.failed), (3, requests, totals.queue), (4, requests, totals.input),
                (5, requests, totals.model), (6, requests, totals.output),
            ] {
                statistics.message(number) { duration in
                    duration.integer(1, count)
                    duration.integer(2, nanoseconds)
                }
            }
        }
    }
}

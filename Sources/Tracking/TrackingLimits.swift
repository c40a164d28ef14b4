import Contracts

/// MLflow's limits, with its wording: public clients and tests match these texts.
enum TrackingLimits {
    static let metricsPerBatchMax = 1000
    static let paramsPerBatchMax = 100
    static let tagsPerBatchMax = 100
    static let thingsPerBatchMax = 1000
    static let datasetsPerSearchMax = 1000
    static let datasetNameCharactersMax = 500
    static let datasetDigestCharactersMax = 36
    static let datasetSourceCharactersMax = 65_535
    static let datasetSchemaCharactersMax = 1_048_575
    static let datasetProfileCharactersMax = 16_777_215
    static let inputTagKeyCharactersMax = 255
    static let inputTagCharactersMax = 500
    static let keyCharactersMax = 250
    static let paramCharactersMax = 6000
    static let tagCharactersMax = 8000
    static let experimentTagCharactersMax = 20_000
    static let experimentNameCharactersMax = 500
    static let runsPerPageMax = 50_000
    static let historyPerPageMax = 25_000
    static let experimentsPerFilterMax = 10_000
    static let experimentsPerDatasetSearchMax = 20
    static let datasetSummariesMax = 1000
    static let modelHistoryBytesMax = 1_000_000
    static let evaluationNameCharactersMax = 255
    static let evaluationTagCharactersMax = 5000
    static let evaluationRecordsMax: Int64 = 1_000_000

    /// - Parameter path: where the metric stands in the request, with a dot at its end; empty for a single one.
    static func check(_ metric: Metric, path: String) throws(KeelError) {
        guard (metric.datasetName == nil) == (metric.datasetDigest == nil) else {
            throw .invalid("Both dataset_name and dataset_digest must be provided if one is provided")
        }
        try EntityName.check(metric.key, path: "\(path)name", lengthOf: "Metric name")
        guard metric.at.milliseconds >= 0 else {
            throw .invalid(
                "Invalid value \(metric.at.milliseconds) for parameter '\(path)timestamp' supplied: metric '\(metric.key)' (value=\(metric.value)). Timestamp must be a nonnegative long (64-bit integer) "
            )
        }
    }

    /// A value that is too long is cut, as MLflow's server does: no run ends for a long text.
    static func checked(param: KeyValue, path: String) throws(KeelError) -> KeyValue {
        try EntityName.check(param.key, path: "\(path)key", lengthOf: "Param key")
        return KeyValue(param.key, cut(param.value, to: paramCharactersMax))
    }

    /// The same for a tag.
    static func checked(tag: KeyValue, path: String) throws(KeelError) -> KeyValue {
        try EntityName.check(tag.key, path: "\(path)key")
        try ReservedTags.check(tag.key)
        return KeyValue(tag.key, cut(tag.value, to: tagCharactersMax))
    }

    static func check(_ dataset: DatasetInput) throws(KeelError) {
        try EntityName.check(length: dataset.name, of: "name", atMost: datasetNameCharactersMax)
        try EntityName.check(length: dataset.digest, of: "digest", atMost: datasetDigestCharactersMax)
        try EntityName.check(length: dataset.source, of: "source", atMost: datasetSourceCharactersMax)
        try EntityName.check(length: dataset.schema ?? "", of: "schema", atMost: datasetSchemaCharactersMax)
        try EntityName.check(length: dataset.profile ?? "", of: "profile", atMost: datasetProfileCharactersMax)
        for tag in dataset.tags {
            try EntityName.check(length: tag.key, of: "key", atMost: inputTagKeyCharactersMax)
            try EntityName.check(length: tag.value, of: "value", atMost: inputTagCharactersMax)
        }
    }

    static func cut(_ text: String, to limit: Int) -> String {
        text.utf8.count > limit && text.unicodeScalars.count > limit ? String(text.unicodeScalars.prefix(limit)) : text
    }

    static func check(count: Int, of things: String, atMost limit: Int) throws(KeelError) {
        guard count > limit else { return }
        throw .invalid(
            "A batch logging request can contain at most \(limit) \(things). Got \(count) \(things). Please split up \(things) across multiple requests and try again."
        )
    }

    /// The size of a page.
    static func page(_ asked: Int?, default standard: Int, atMost limit: Int) throws(KeelError) -> Int {
        guard let asked else { return standard }
        guard asked >= 1 else {
            throw .invalid("Invalid value \(asked) for parameter 'max_results' supplied. It must be a positive integer")
        }
        guard asked <= limit else {
            throw .invalid("Invalid value \(asked) for parameter 'max_results' supplied. It must be at most \(limit)")
        }
        return asked
    }
}

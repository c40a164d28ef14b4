import CGradientBoosting
import Contracts

extension XGBoostLibrary {
    /// - Throws: XGBoost's message, as `describe` puts it, when a call's result is not 0.
    func check(_ result: Int32, _ describe: (String) -> String = { $0 }) throws(KeelError) {
        guard result != 0 else { return }
        throw .invalid(describe(lastError))
    }

    /// The last message of this thread, without the place in XGBoost's source and the stack that it comes with.
    var lastError: String {
        guard let raw = api.get_last_error() else { return "XGBoost failed without a message" }
        var text = Substring(String(cString: raw))
        if let stack = text.firstRange(of: "\nStack trace") { text = text[..<stack.lowerBound] }
        if text.hasPrefix("["), let place = text.firstRange(of: ": ") { text = text[place.upperBound...] }
        return text.split(separator: "\n").joined(separator: " ")
    }
}

/// A training or prediction matrix of XGBoost, freed with the last reference.
final class BoosterMatrix {
    let handle: keel_xgboost_handle
    private let library: XGBoostLibrary

    init(_ library: XGBoostLibrary, _ matrix: FloatMatrix) throws(KeelError) {
        var created: keel_xgboost_handle?
        let result = matrix.values.withUnsafeBufferPointer {
            library.api.matrix_create_from_mat($0.baseAddress, UInt64(matrix.rowCount), UInt64(matrix.columnCount), .nan, &created)
        }
        try library.check(result)
        guard let created else { throw KeelError(.internal, "XGBoost gave no matrix") }
        handle = created
        self.library = library
    }

    convenience init(_ library: XGBoostLibrary, _ examples: XGBoost.Examples) throws(KeelError) {
        let matrix = examples.matrix
        guard matrix.rowCount > 0 else { throw .invalid("there are no rows to train or measure on") }
        guard examples.labels.count == matrix.rowCount else {
            throw .invalid("\(matrix.rowCount) rows have \(examples.labels.count) labels")
        }
        try self.init(library, matrix)
        try set("label", examples.labels)
        if let weights = examples.weights {
            guard weights.count == matrix.rowCount else { throw .invalid("\(matrix.rowCount) rows have \(weights.count) weights") }
            try set("weight", weights)
        }
    }

    deinit { _ = library.api.matrix_free(handle) }

    private func set(_ field: String, _ values: [Float]) throws(KeelError) {
        let result = values.withUnsafeBufferPointer { buffer in
            let address = UInt(bitPattern: buffer.baseAddress)
            let interface = #"{"data": [\#(address), true], "shape": [\#(buffer.count)], "typestr": "<f4", "version": 3}"#
            return library.api.matrix_set_info(handle, field, interface)
        }
        try library.check(result) { "\(field)s: \($0)" }
    }
}

/// A model in XGBoost, freed with the last reference.
final class Booster {
    let handle: keel_xgboost_handle
    private let library: XGBoostLibrary
    /// XGBoost refers to the matrices it was made with.
    private let matrices: [BoosterMatrix]

    init(_ library: XGBoostLibrary, caching matrices: [BoosterMatrix]) throws(KeelError) {
        var created: keel_xgboost_handle?
        let handles: [keel_xgboost_handle?] = matrices.map(\.handle)
        try library.check(library.api.booster_create(handles, UInt64(handles.count), &created))
        guard let created else { throw KeelError(.internal, "XGBoost gave no model") }
        handle = created
        self.library = library
        self.matrices = matrices
    }

    deinit { _ = library.api.booster_free(handle) }

    /// Names that the model keeps, one for each feature.
    func setFeatureNames(_ names: [String]) throws(KeelError) {
        var texts: [CChar] = []
        var starts: [Int] = []
        for name in names {
            starts.append(texts.count)
            texts += Array(name.utf8CString)
        }
        let result = texts.withUnsafeBufferPointer { bytes in
            var pointers = starts.map { bytes.baseAddress?.advanced(by: $0) }
            return library.api.booster_set_str_feature_info(handle, "feature_name", &pointers, UInt64(names.count))
        }
        try library.check(result)
    }

    /// XGBoost's metrics after a round, read from its line `[0]\ttrain-logloss:0.61\tvalidation-logloss:0.63`.
    func evaluate(_ index: Int, training: BoosterMatrix, validation: BoosterMatrix?) throws(KeelError) -> [String: Double] {
        var handles: [keel_xgboost_handle?] = [training.handle]
        if let validation { handles.append(validation.handle) }
        var line: UnsafePointer<CChar>?
        let result = "train".withCString { train in
            "validation".withCString { held in
                var names: [UnsafePointer<CChar>?] = [train, held]
                return library.api.booster_eval_one_iter(handle, Int32(index), &handles, &names, UInt64(handles.count), &line)
            }
        }
        try library.check(result)
        var metrics: [String: Double] = [:]
        for part in line.map({ String(cString: $0) })?.split(separator: "\t").dropFirst() ?? [] {
            guard let colon = part.lastIndex(of: ":") else { continue }
            metrics[String(part[..<colon])] = Double(part[part.index(after: colon)...])
        }
        return metrics
    }

    /// The model in XGBoost's JSON format.
    func saved() throws(KeelError) -> [UInt8] {
        var length: UInt64 = 0
        var bytes: UnsafePointer<CChar>?
        try library.check(library.api.booster_save_to_buffer(handle, #"{"format": "json"}"#, &length, &bytes))
        return Array(UnsafeRawBufferPointer(start: bytes, count: Int(length)))
    }
}
